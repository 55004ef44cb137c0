import AppCore
import Probes
import Vitals

/// `/api/health/pool`: exactly these four keys, in this order; clients compare against them.
struct PoolHealthDocument: Sendable {
    let text: String

    /// An unknown pool is called degraded: the three words are a promise, and silence is not health.
    init(_ pool: PoolStatistics, state: HealthState) {
        let status = state == .unknown ? HealthState.degraded : state
        text = """
            {"totalCount":\(pool.total),"idleCount":\(pool.idle),"waitingCount":\(pool.waiting),"status":"\(status.rawValue)"}
            """
    }
}

/// `/api/health/pool/holders`: who holds and who waits, oldest first. Made from memory alone, also while PostgreSQL is frozen.
/// `healthd holders` reads it, also from a daemon of an earlier version: what that did not tell is optional.
struct PoolHoldersDocument: Codable, Sendable {
    struct Holder: Codable {
        var purpose: String
        var detail: String?
        var statement: String?
        var fingerprint: String?
        /// Statements sharing one round trip, `statement` the first of them; absent when it runs alone.
        var batched: Int?
        var callSite: String
        var since: WallTime
        var ageSeconds: Double
        var inTransaction: Bool
        var backendPid: Int?
        var `class`: WorkClass.RawValue?
        /// What the backend does, as PostgreSQL itself told the probe; absent when this lease has not been looked at yet.
        var backend: Backend?
    }

    struct Backend: Codable {
        var state: String?
        /// `Lock:transactionid`; absent while it waits for nothing.
        var waitsFor: String?
        /// Backends holding the lock it waits for; those of this pool are `backendPid` of another holder.
        var blockedBy: [Int]
        /// Since the server was asked.
        var ageSeconds: Double
    }

    struct Waiter: Codable {
        var purpose: String
        var `class`: WorkClass.RawValue?
        var detail: String?
        var callSite: String
        var since: WallTime
        var ageSeconds: Double
        /// Until the caller gives up; negative when that is overdue.
        var deadlineInSeconds: Double
    }

    var asOf: WallTime
    var pool = "main"
    var max: Int
    var holders: [Holder]
    var waiters: [Waiter]

    init(_ snapshot: PoolHolders, look: BackendLook? = nil, max: Int, asOf: WallTime) {
        self.asOf = asOf
        self.max = max
        holders = snapshot.holders.map { holder in
            Holder(
                purpose: holder.purpose, detail: holder.detail, statement: holder.statement, fingerprint: holder.fingerprint,
                batched: holder.batched, callSite: holder.callSite, since: asOf + (.zero - holder.age), ageSeconds: holder.age.seconds,
                inTransaction: holder.inTransaction, backendPid: holder.backendPID > 0 ? holder.backendPID : nil,
                class: holder.workClass.rawValue, backend: look.flatMap { Backend(of: holder, in: $0) })
        }
        waiters = snapshot.waiters.map { waiter in
            Waiter(
                purpose: waiter.purpose, class: waiter.workClass.rawValue, detail: waiter.detail, callSite: waiter.callSite,
                since: asOf + (.zero - waiter.age), ageSeconds: waiter.age.seconds, deadlineInSeconds: waiter.deadlineIn.seconds)
        }
    }
}

extension PoolHoldersDocument.Backend {
    fileprivate init?(of holder: PoolHolders.Holder, in look: BackendLook) {
        guard let wait = look.wait(of: holder) else { return nil }
        self.init(state: wait.state, waitsFor: wait.event, blockedBy: wait.blockedBy, ageSeconds: look.age.seconds)
    }
}
