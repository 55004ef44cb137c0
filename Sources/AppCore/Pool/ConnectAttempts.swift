import Vitals

/// When the next connection may be opened, and whether the database is there at all.
struct ConnectAttempts {
    enum Availability {
        case up
        /// The last attempt to connect failed and no connection stands.
        case down(cause: String, since: MonotonicInstant)
    }

    private let backoff = Backoff(base: .milliseconds(50), cap: .seconds(2))
    private var failures = 0
    private var lastFailureAt: MonotonicInstant?
    private(set) var nextAt: MonotonicInstant?
    private(set) var lastFailure: String?
    private(set) var availability = Availability.up

    /// While somebody asks, attempts are no further apart than this, so that a database that is back serves within 100 ms.
    static let pauseWhileAsked = Duration.milliseconds(50)

    var isDown: Bool { if case .down = availability { true } else { false } }

    func mayBegin(at now: MonotonicInstant) -> Bool { nextAt.map { $0 <= now } ?? true }

    func untilNext(_ now: MonotonicInstant) -> Duration { nextAt.map { max(.zero, $0 - now) } ?? .zero }

    mutating func succeeded() {
        self = ConnectAttempts()
    }

    /// - Parameter standing: whether other connections stand; then the database is not down.
    mutating func failed(_ cause: String, standing: Bool, now: MonotonicInstant, using generator: inout some RandomNumberGenerator) {
        failures += 1
        lastFailure = cause
        lastFailureAt = now
        nextAt = now + backoff.delay(attempt: failures, using: &generator)
        guard !standing else { return }
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
