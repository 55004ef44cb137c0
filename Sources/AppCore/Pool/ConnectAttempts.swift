public import Vitals

/// When the next connection may be opened, and whether the database is there at all.
struct ConnectAttempts {
    enum Availability {
        case up
        /// No connection is open, and the last attempt to connect failed, or has had no answer for `patience`.
        case down(cause: String, since: MonotonicInstant)
    }

    private let backoff = Backoff(base: .milliseconds(50), cap: .seconds(2))
    private var failures = 0
    private var lastFailureAt: MonotonicInstant?
    private(set) var nextAt: MonotonicInstant?
    private(set) var lastFailure: String?
    private(set) var availability = Availability.up
    /// The latest result of an attempt to connect; nil before the first.
    private(set) var newest: NewestConnect?

    /// While somebody asks, attempts are no further apart than this, so that a database that is back serves within 100 ms.
    static let pauseWhileAsked = Duration.milliseconds(50)
    /// An attempt without an answer for this long counts as failed, though it goes on: callers are told at once.
    static let patience = Duration.seconds(1)

    /// With several hosts, all but the last may be silent, each for its share of the attempt.
    static func patience(hosts: Int, timeout: Duration) -> Duration { patience + timeout * (hosts - 1) / hosts }

    var isDown: Bool { if case .down = availability { true } else { false } }

    func mayBegin(at now: MonotonicInstant) -> Bool { nextAt.map { $0 <= now } ?? true }

    func untilNext(_ now: MonotonicInstant) -> Duration { nextAt.map { max(.zero, $0 - now) } ?? .zero }

    mutating func succeeded(now: MonotonicInstant) {
        self = ConnectAttempts()
        newest = NewestConnect(at: now)
    }

    /// - Parameters:
    ///   - cause: the text of the error.
    ///   - error: the error itself, where it is one of PostgreSQL's or of the way there.
    ///   - othersAreOpen: then the database is not down.
    mutating func failed(
        _ cause: String, _ error: PostgresError? = nil, othersAreOpen: Bool, now: MonotonicInstant, using generator: inout some RandomNumberGenerator
    ) {
        failures += 1
        lastFailure = cause
        newest = NewestConnect(at: now, error: error ?? .connectFailed(cause, sqlState: nil), failuresInRow: failures)
        lastFailureAt = now
        nextAt = now + backoff.delay(attempt: failures, using: &generator)
        if !othersAreOpen { becomeDown(because: cause, since: now) }
    }

    /// No connection is open any more: whether another can be opened is found out at once, however lately an attempt failed.
    mutating func lastOneWent() {
        if !isDown { nextAt = nil }
    }

    /// An attempt goes on without an answer, and no connection is open.
    mutating func unanswered(_ error: PostgresError, since: MonotonicInstant, now: MonotonicInstant) {
        lastFailure = "\(error)"
        newest = NewestConnect(at: now, error: error, failuresInRow: failures + 1, isUnanswered: true)
        becomeDown(because: "\(error)", since: since)
    }

    private mutating func becomeDown(because cause: String, since now: MonotonicInstant) {
        switch availability {
        case .up: availability = .down(cause: cause, since: now)
        case .down(_, let since): availability = .down(cause: cause, since: since)
        }
    }

    /// A caller asks while the database is down: somebody is interested, so the next attempt comes sooner.
    ///
    /// - Returns: when, if that is sooner than before.
    mutating func hasten(now: MonotonicInstant) -> MonotonicInstant? {
        guard isDown, let lastFailureAt, let nextAt else { return nil }
        let soonest = max(now, lastFailureAt + Self.pauseWhileAsked)
        guard soonest < nextAt else { return nil }
        self.nextAt = soonest
        return soonest
    }

    func unavailable(now: MonotonicInstant) -> PoolError? {
        guard case .down(let cause, let since) = availability else { return nil }
        return .databaseUnavailable(cause: cause, since: now - since, nextAttemptIn: untilNext(now))
    }
}

/// The latest result of an attempt to connect.
public struct NewestConnect: Sendable {
    public var at: MonotonicInstant
    /// Nil when the connection was opened.
    public var error: PostgresError?
    /// Failed attempts in a row, this one included.
    public var failuresInRow = 0
    /// It goes on, and has had no answer for so long that it counts as failed.
    public var isUnanswered = false

    public init(at: MonotonicInstant, error: PostgresError? = nil, failuresInRow: Int = 0, isUnanswered: Bool = false) {
        self.at = at
        self.error = error
        self.failuresInRow = failuresInRow
        self.isUnanswered = isUnanswered
    }
}
