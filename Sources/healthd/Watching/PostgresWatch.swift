import AppCore
import Probes
import Vitals

/// Asks the server itself, over a connection outside the pool.
///
/// One statement on views that take no locks on tables: it costs the server well under 2 ms. What the role may not see
/// (without `pg_monitor`, other roles' states) is absent, not zero.
enum PostgresWatch {
    /// - Parameters:
    ///   - backends: server processes of leases that are out now; asked what they wait for.
    ///   - looks: where that is kept.
    ///   - pool: tells whether new connections can be had, with the connection itself.
    static func probe(
        _ connection: DedicatedConnection, interval: Duration, timeout: Duration, time: any TimeSource,
        backends: @escaping @Sendable () -> [Int] = { [] }, looks: BackendLooks? = nil,
        pool: @escaping @Sendable () -> PoolStatistics? = { nil }
    ) -> Probe {
        // Left at its timeout: a slow server is asked once, not anew by each look.
        Probe(id: "postgres", component: "postgres", interval: interval, timeout: timeout, atTimeout: .left) {
            do {
                let deadline = Deadline(time.now() + timeout)
                let rows = try await connection.query(look, until: deadline)
                guard let row = rows.first else { throw ProbeFailure(.protocol, "no row from pg_stat_activity") }
                var found = try measurement(row)
                if let looks { await take(looks, of: backends(), connection, deadline, time) }
                if let refusal = NewConnections.refusal(beside: connection, pool(), now: time.now()) {
                    guard refusal.othersStand else { throw refusal.error }
                    found.complaint = complaint(refusal.error, timeout)
                }
                return found
            } catch let error as PostgresError {
                // Only the watcher is turned away, while the application has connections: degraded, as when the application could open no more.
                if NewConnections.isTurnedAway(error, beside: pool()) { return Measurement(complaint: complaint(error, timeout)) }
                throw failure(error, timeout: timeout)
            }
        }
    }

    private static func complaint(_ error: PostgresError, _ timeout: Duration) -> String {
        "takes no new connections: \(failure(error, timeout: timeout))"
    }

    /// What our backends wait for. The verdict does not hang on it: when it fails, the last look stays, and its age says so.
    private static func take(
        _ looks: BackendLooks, of pids: [Int], _ connection: DedicatedConnection, _ deadline: Deadline, _ time: any TimeSource
    ) async {
        let asked = time.now()
        guard !pids.isEmpty else { return looks.record([:], at: asked) }
        // Half of the time that is left: the answer to the first question must not be late for the sake of the second.
        let deadline = Deadline(asked + deadline.remaining(at: asked) / 2)
        do {
            var waits: [Int: BackendWait] = [:]
            for row in try await connection.query(BackendWait.look(at: pids), until: deadline) { waits[try row.int("pid")] = try BackendWait(row) }
            looks.record(waits, at: asked)
        } catch {
            return
        }
    }

    private static let look: SQL = """
        SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS in_recovery,
               current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS backends_max,
               a.backends, a.active, a.idle, a.idle_in_transaction, a.waiting, a.lock_wait, a.idle_wait,
               d.blks_hit, d.blks_read, d.deadlocks, d.temp_bytes, d.xact_commit, d.xact_rollback,
               (SELECT max(age(datfrozenxid)) FROM pg_database) AS xid_age
        FROM (SELECT count(*) AS backends,
                     count(*) FILTER (WHERE state = 'active' AND wait_event_type IS DISTINCT FROM 'Lock') AS active,
                     count(*) FILTER (WHERE state = 'idle') AS idle,
                     count(*) FILTER (WHERE state LIKE 'idle in transaction%') AS idle_in_transaction,
                     count(*) FILTER (WHERE wait_event_type = 'Lock') AS waiting,
                     extract(epoch FROM max(clock_timestamp() - query_start) FILTER (WHERE wait_event_type = 'Lock')) AS lock_wait,
                     extract(epoch FROM max(clock_timestamp() - state_change) FILTER (WHERE state LIKE 'idle in transaction%')) AS idle_wait
              FROM pg_stat_activity WHERE backend_type = 'client backend') a
        CROSS JOIN pg_stat_database d WHERE d.datname = current_database()
        """

    private static func measurement(_ row: Row) throws(PostgresError) -> Measurement {
        let backends = try row.int("backends")
        let limit = try row.int("backends_max")
        var values: [String: Double] = [
            "saturation": Double(backends) / Double(max(1, limit)),
            "backends_max": Double(limit),
            "lock_waiters": try row.double("waiting"),
            "lock_wait_oldest_seconds": try row.optionalDouble("lock_wait") ?? 0,
            "idle_in_transaction_oldest_seconds": try row.optionalDouble("idle_wait") ?? 0,
            // 2^31 transactions: the server stops shortly before.
            "xid_age_ratio": try row.double("xid_age") / 2_147_483_648,
        ]
        for state in ["active", "idle", "idle_in_transaction", "waiting"] { values["backends_\(state)"] = try row.double(state) }
        let counters = [
            "buffer_reads_cache": "blks_hit", "buffer_reads_disk": "blks_read", "deadlocks": "deadlocks", "temp_bytes": "temp_bytes",
            "transactions_commit": "xact_commit", "transactions_rollback": "xact_rollback",
        ]
        for (name, column) in counters { values[name] = try row.optionalDouble(column) }
        return Measurement(
            values: values, facts: ["version": try row.string("version"), "role": try row.bool("in_recovery") ? "replica" : "primary"],
            summary: "\(backends) of \(limit) connections in use")
    }

    /// Tells down from full from locked out from hanging: by what the server said, whatever its language.
    static func failure(_ error: PostgresError, timeout: Duration) -> ProbeFailure {
        switch error {
        case .deadlineExceeded, .cancelled: ProbeFailure(.timeout, "no reply within \(timeout.text)")
        case .connectTimedOut: ProbeFailure(.timeout, reason(error))
        case .connectFailed(_, let sqlState): ProbeFailure(outcome(ofConnecting: sqlState), reason(error))
        case .connectionLost: ProbeFailure(.unreachable, reason(error))
        case .server(let server): ProbeFailure(outcome(of: server.meaning), reason(error))
        case .decoding: ProbeFailure(.protocol, reason(error))
        case .notSent, .transactionRolledBack, .unsupported: ProbeFailure(.error, reason(error))
        }
    }

    private static func outcome(ofConnecting sqlState: String?) -> ProbeOutcome {
        switch sqlState.map({ SQLState.meaning(of: $0) }) {
        case .full?: .full
        case .denied?: .auth
        // A database that takes nobody.
        case _ where sqlState == "55000": .auth
        default: .unreachable
        }
    }

    private static func outcome(of meaning: SQLState.Meaning) -> ProbeOutcome {
        switch meaning {
        case .away: .unreachable
        case .full: .full
        case .busy: .timeout
        // The server answers, and denies the watcher one statement: it is not locked out.
        case .denied, .conflict, .readOnly, .schema, .stalePlan, .constraint, .text, .statement: .error
        }
    }

    private static func reason(_ error: PostgresError) -> String {
        switch error {
        case .connectFailed(let reason, _), .connectionLost(let reason), .notSent(let reason): reason.oneLine(limit: 300)
        case .connectTimedOut(let server, let waited): "\(server): no answer within \(waited.text)".oneLine(limit: 300)
        case .server(let error): error.message.oneLine(limit: 300)
        default: "\(error)".oneLine(limit: 300)
        }
    }
}
