import Vitals

/// Why there is no connection: the pool is busy, the database is down, or the program stops. One is never reported as another.
public indirect enum PoolError: Error, Sendable {
    // Indirect: else each result that may hold one would be as large as `saturated`.

    /// At least one connection is in use, and none was free for this caller. `reason` says why it does not wait any longer, or at all.
    case saturated(PoolPicture, waited: Duration, retryAfter: Duration, reason: ShedReason = .expired)

    /// No connection is open: none can be opened, or none was opened in time. `nextAttemptIn` is zero while an attempt is under way.
    case databaseUnavailable(cause: String, since: Duration, nextAttemptIn: Duration)

    case shuttingDown

    /// The caller was cancelled before it had a connection: nothing was sent.
    case cancelled
}

/// Why a caller was refused although connections are open.
public enum ShedReason: String, Sendable, CaseIterable {
    /// The queue had no room.
    case queueFull = "queue_full"
    /// After the estimated wait it would not have time for two mean leases, or it has none left at all. It is told now, not at its deadline.
    case tooLate = "too_late"
    /// The queue is standing (`Admission`): a newcomer is let in only if it will be served soon.
    case overload
    /// It queued, and its deadline came first.
    case expired

    fileprivate var text: String {
        switch self {
        case .queueFull: "the queue is full"
        case .tooLate: "its turn would have come too late"
        case .overload: "the queue has been standing for too long"
        case .expired: "its time was up"
        }
    }
}

/// The numbers that explain a refusal.
public struct PoolPicture: Sendable, Hashable {
    /// In use: leased, recovering or retiring.
    public var leased: Int
    public var idle: Int
    public var connecting: Int
    public var waiting: Int
    public var max: Int
    /// Age of the lease held longest, and its purpose.
    public var oldestLease: Duration?
    public var oldestPurpose: String?
    public var lastConnectFailure: String?
}

extension PoolError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .saturated(let picture, let waited, let retryAfter, let reason):
            var numbers = "leased \(picture.leased) of \(picture.max), idle \(picture.idle), waiting \(picture.waiting)"
            if let oldest = picture.oldestLease, let purpose = picture.oldestPurpose {
                numbers += "; oldest lease \(oldest.text) by \(purpose)"
            }
            if let failure = picture.lastConnectFailure { numbers += "; last connect failure: \(failure)" }
            let outcome = reason == .expired ? "no connection within \(waited.text)" : "refused at once, \(reason.text)"
            return "postgres pool: \(outcome) (\(numbers)); try again in \(retryAfter.text), or see database.pool.max"
        case .databaseUnavailable(let cause, let since, let next):
            let attempt = next > .zero ? "next attempt in \(next.text)" : "an attempt is under way"
            return "postgres pool: the database is unavailable since \(since.text): \(cause); \(attempt)"
        case .shuttingDown: return "postgres pool: shutting down"
        case .cancelled: return "postgres pool: the caller gave up waiting"
        }
    }
}
