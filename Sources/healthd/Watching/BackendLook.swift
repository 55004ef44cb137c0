import AppCore
import Synchronization
import Vitals

/// What a backend of ours was doing when the probe last looked into `pg_stat_activity`.
struct BackendWait: Sendable, Hashable {
    /// `active`, `idle in transaction` and so on; nil when the role may not see it.
    var state: String?
    /// Type and name as PostgreSQL gives them, `Lock:transactionid`; nil while it waits for nothing.
    var event: String?
    /// Backends that hold the lock it waits for; 0 is a prepared transaction.
    var blockedBy: [Int] = []

    /// `waits for Lock:transactionid, held by backend 4711`; nil while it waits for nothing.
    var text: String? {
        guard let event else { return nil }
        guard !blockedBy.isEmpty else { return "waits for \(event)" }
        let holders = blockedBy.map(String.init).joined(separator: ", ")
        return "waits for \(event), held by \(blockedBy.count == 1 ? "backend" : "backends") \(holders)"
    }
}

/// One look at our backends, and its age.
struct BackendLook: Sendable {
    var waits: [Int: BackendWait]
    var age: Duration

    /// What the holder's backend was doing; nil when it was not seen, or when the look is older than the lease and tells of an earlier one.
    func wait(of holder: PoolHolders.Holder) -> BackendWait? {
        holder.age >= age ? waits[holder.backendPID] : nil
    }
}

/// Keeps the last look, so that whoever asks who holds the pool is answered from memory, also while PostgreSQL is frozen.
final class BackendLooks: Sendable {
    private struct Taken {
        var waits: [Int: BackendWait]
        var at: MonotonicInstant
    }

    private let last = Mutex<Taken?>(nil)
    private let time: any TimeSource

    init(time: any TimeSource) {
        self.time = time
    }

    /// - Parameter instant: before the server was asked. A lease that began later is not what was seen.
    func record(_ waits: [Int: BackendWait], at instant: MonotonicInstant) {
        last.withLock { $0 = Taken(waits: waits, at: instant) }
    }

    /// The last look; nil before the first.
    func current() -> BackendLook? {
        last.withLock { $0 }.map { BackendLook(waits: $0.waits, age: time.now() - $0.at) }
    }
}

extension BackendWait {
    /// One row for each of `pids` that still lives. Only a backend that waits for a lock is asked who holds it: the answer briefly
    /// locks the server's table of locks.
    static func look(at pids: [Int]) -> SQL {
        """
        SELECT pid, state, wait_event_type || ':' || wait_event AS event,
               CASE WHEN wait_event_type = 'Lock' THEN array_to_string(pg_blocking_pids(pid), ',') END AS blocked_by
        FROM pg_stat_activity WHERE pid = ANY(\(pids)::int[])
        """
    }

    init(_ row: Row) throws(PostgresError) {
        state = try row.optionalString("state")
        event = try row.optionalString("event")
        // A parallel query's workers are named by their leader, once for each.
        var seen: Set<Int> = []
        let pids = (try row.optionalString("blocked_by") ?? "").split(separator: ",").compactMap { Int($0) }
        blockedBy = pids.filter { seen.insert($0).inserted }
    }
}
