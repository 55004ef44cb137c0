import Vitals

/// The connections that lead to one server in one role. When that server is not the one to use any more, all of them go: after a failover every
/// connection to the former primary still answers SELECT 1, and refuses every write.
struct PoolGeneration {
    /// Counts up. A connection of a lower number is to go.
    private(set) var number = 0
    /// Nil until a connection that knows its server is open.
    private var identity: ServerIdentity?
    /// Another server, found before `shortest` was over, and the generation that the connections to it belong to.
    private var next: (identity: ServerIdentity, number: Int)?
    private var lastChange: MonotonicInstant?

    /// A new connection to another server ends a generation no sooner than this after the last change: else a name that leads to a primary and a
    /// standby by turns would end one with each connection. A demotion ends it at once.
    static let shortest = Duration.seconds(1)

    /// A connection of generation `number` found that its server takes no writes, or has another role.
    ///
    /// - Returns: whether the generation ends by it; false when another is the present one.
    mutating func end(_ number: Int, now: MonotonicInstant) -> Bool {
        guard number == self.number else { return false }
        begin(next?.number ?? number + 1, with: next?.identity, now: now)
        return true
    }

    /// A new connection was opened. If it leads to another server, or to the same in another role, a generation begins with it: at once, or as soon
    /// as the present one has lasted for `shortest`.
    ///
    /// - Parameter identity: nil behind a pooler, where each transaction may have another server.
    /// - Returns: the generation it belongs to.
    mutating func admit(_ identity: ServerIdentity?, now: MonotonicInstant) -> Int {
        guard let identity else { return number }
        guard let known = self.identity else {
            self.identity = identity
            return number
        }
        guard identity.differs(from: known) else { return number }
        var found = (identity: identity, number: number + 1)
        // If another server was found before, and is not in use yet, it is left behind as well.
        if let next { found.number = identity.differs(from: next.identity) ? next.number + 1 : next.number }
        next = found
        leaveIfDue(now: now)
        return found.number
    }

    /// Leaves the present server if another was found and the present generation has lasted for `shortest`. Called each second, and with every
    /// new connection to another server.
    mutating func leaveIfDue(now: MonotonicInstant) {
        guard let next else { return }
        if let lastChange, now - lastChange < Self.shortest { return }
        begin(next.number, with: next.identity, now: now)
    }

    private mutating func begin(_ number: Int, with identity: ServerIdentity?, now: MonotonicInstant) {
        self.number = number
        self.identity = identity
        next = nil
        lastChange = now
    }
}
