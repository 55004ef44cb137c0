/// What a connection learned about its server in the round trip that set its session up.
struct ServerFacts: Sendable, Hashable {
    /// The server's process for this session, as in `pg_stat_activity`; nil behind a pooler, where each transaction may have another.
    var backendPID: Int32?
    /// A standby that replays another server's log: it takes no writes.
    var isInRecovery: Bool
    /// `default_transaction_read_only`: set in maintenance, or for a role that only reads.
    var readsOnly = false
    /// `pg_control_system()`: the same for a primary and its standbys, another after `initdb`. Nil where the role may not ask.
    var systemIdentifier: String?
    /// The process that answered the handshake is not the one that runs the statements: PgBouncer or its like stands between.
    var isBehindPooler: Bool

    /// What tells one server, in one role, from another; nil behind a pooler, whose server of the moment says nothing about the next.
    var identity: ServerIdentity? {
        isBehindPooler ? nil : ServerIdentity(system: systemIdentifier, isInRecovery: isInRecovery)
    }
}

struct ServerIdentity: Sendable, Hashable {
    var system: String?
    var isInRecovery: Bool

    /// False also when one of the two does not know its system.
    func differs(from other: ServerIdentity) -> Bool {
        guard isInRecovery == other.isInRecovery else { return true }
        guard let system, let known = other.system else { return false }
        return system != known
    }
}
