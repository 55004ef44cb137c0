public import Vitals

public enum PoolCloseReason: String, Sendable, CaseIterable {
    case idle, lifetime, error, shutdown
    /// Its server is not the one to use any more.
    case failover
}

public enum PoolAcquireOutcome: String, Sendable, CaseIterable {
    /// A connection was free.
    case immediate
    /// Served after queueing.
    case waited
    /// The deadline passed in the queue.
    case timeout
    /// The caller was cancelled, or the pool has ended.
    case cancelled
    /// Refused at once: `queue_full`, `too_late` or `overload` (`ShedReason`).
    case refused
    /// The database is down.
    case unavailable
}

public enum QueryOutcome: String, Sendable, CaseIterable {
    case ok, error, timeout, cancelled
}

/// Who was refused, and why.
public struct ShedKey: Sendable, Hashable {
    public var workClass: WorkClass
    public var reason: ShedReason
}

/// One kind of statement and how it ended.
public struct QueryKind: Sendable, Hashable {
    public var operation: SQL.Operation
    public var outcome: QueryOutcome
}

/// The pool at one moment: what it holds and what it has added up since it was made.
public struct PoolStatistics: Sendable {
    public var max: Int
    public var min: Int
    public var idle: Int
    public var leased: Int
    public var connecting: Int
    /// A lease left something behind that is being cleaned up.
    public var recovering: Int
    /// Past their lifetime; closed in their turn (`Retirements`).
    public var retiring: Int
    public var waiting: Int
    /// Most waiting at once since the statistics were last read, by whomever.
    public var waitingPeak: Int
    public var oldestWait: Duration?
    public var oldestLeaseAge: Duration?
    /// Why no connection is open, and since when. Nil while one is open, or while the first attempt since the last one went may still be answered.
    public var unavailable: (cause: String, since: Duration)?
    public var newestConnect: NewestConnect?
    /// Connection-seconds in use; its growth over `max` × elapsed is the exact mean utilisation.
    public var busySeconds: Double
    /// Seconds in which no connection was idle, and the pool was full or a caller waited.
    public var exhaustedSeconds: Double
    public var opened: Int
    public var closed: [PoolCloseReason: Int]
    public var leaksSuspected: Int
    /// Suspected leaks that were given back after all.
    public var leaksReturned = 0
    public var acquire: [PoolAcquireOutcome: HistogramSnapshot]
    public var use: HistogramSnapshot
    public var createSucceeded: HistogramSnapshot
    public var createFailed: HistogramSnapshot
    public var query: [QueryKind: HistogramSnapshot]
    public var queryErrorsBySQLStateClass: [String: Int]
    /// Callers refused although connections are open.
    public var shed: [ShedKey: Int] = [:]
    /// The queue is standing: a newcomer is let in only if it will be served soon, and a waiter without time for its work is passed over.
    public var isOverloaded = false
    public var batches = 0
    /// Single statements that shared the round trip of a batch.
    public var batchedStatements = 0

    /// All that exist, connecting ones included.
    public var total: Int { idle + leased + connecting + recovering + retiring }
}

/// Who holds connections, oldest first; and who waits for one, the most urgent class first, each in order of arrival.
public struct PoolHolders: Sendable {
    public struct Holder: Sendable {
        public var purpose: String
        public var workClass: WorkClass
        /// The route or task on whose behalf.
        public var detail: String?
        /// The statement that runs or ran last, literals replaced.
        public var statement: String?
        public var fingerprint: String?
        /// Statements that share the round trip under way; then `statement` is the first of them. Nil when it runs alone.
        public var batched: Int?
        public var callSite: String
        public var age: Duration
        public var inTransaction: Bool
        public var backendPID: Int
    }

    public struct Waiter: Sendable {
        public var purpose: String
        public var workClass: WorkClass
        public var detail: String?
        public var callSite: String
        public var age: Duration
        public var deadlineIn: Duration
    }

    public var holders: [Holder]
    public var waiters: [Waiter]
}

/// A sign that callers feel the pool's load. It is reported at once, not with the next sample.
public enum PoolPressure: Sendable, Equatable {
    /// A caller has queued for 250 ms: no longer a passing burst.
    case sustained
    /// Callers queued until their deadline.
    case queueDeadline
    /// A caller was refused at once; reported for each.
    case refused
}

/// What the application listens to, under the names it knows from its former pool.
public enum PoolEvent: Sendable {
    case poolCreated(max: Int, min: Int)
    case clientCreated(backendPID: Int, took: Duration)
    case clientCheckout(purpose: String, waited: Duration)
    case clientRelease(purpose: String, held: Duration)

    public var name: String {
        switch self {
        case .poolCreated: "pool_created"
        case .clientCreated: "client_created"
        case .clientCheckout: "client_checkout"
        case .clientRelease: "client_release"
        }
    }
}
