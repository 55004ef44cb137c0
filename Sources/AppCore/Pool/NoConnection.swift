import Vitals

/// Tells "no connection is open" from "all are busy". In a busy pool at least one is in use.
extension PoolState {
    /// That no connection is open, and why. Nil while one is open, or while the first attempt since the last one went may still be answered.
    func unavailable(now: MonotonicInstant) -> PoolError? {
        if let error = attempts.unavailable(now: now) { return error }
        guard let (error, since) = silence(now: now) else { return nil }
        return .databaseUnavailable(cause: "\(error)", since: now - since, nextAttemptIn: .zero)
    }

    /// The error of an attempt to connect that has had no answer for too long, and since when it waits. Nil while an answer may still come, and
    /// while a connection is open.
    func silence(now: MonotonicInstant) -> (PostgresError, since: MonotonicInstant)? {
        guard numbers.connecting > 0, total == numbers.connecting, let since = oldest(.connecting) else { return nil }
        return now - since >= patience ? (.connectTimedOut(server, after: now - since), since) : nil
    }

    /// What to tell a caller that may not wait, or that has waited as long as it could.
    ///
    /// - Parameter estimate: how long a newcomer of its class would wait.
    func refusal(_ reason: ShedReason, estimate: Duration?, waited: Duration, now: MonotonicInstant) -> PoolError {
        guard numbers.inUse == 0 else {
            return .saturated(picture(now: now), waited: waited, retryAfter: estimate ?? .milliseconds(100), reason: reason)
        }
        if let error = unavailable(now: now) { return error }
        let since = oldest(.connecting) ?? now
        let cause =
            numbers.connecting > 0
            ? "\(server) has not answered an attempt to connect for \((now - since).text)" : attempts.lastFailure ?? "no connection is open yet"
        return .databaseUnavailable(cause: cause, since: now - since, nextAttemptIn: attempts.untilNext(now))
    }

    private func oldest(_ phase: Phase) -> MonotonicInstant? { connections.lazy.filter { $0.phase == phase }.map(\.since).min() }
}
