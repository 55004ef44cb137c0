import Vitals

/// When to try again: exponential with full jitter, eager while an outage is young, never before a receiver's `Retry-After`.
struct RetryPolicy: Sendable, Hashable {
    var backoff = Backoff(base: .seconds(1), cap: .seconds(300))
    /// The delay never exceeds this, or a quarter of the time the receiver has been out, whichever is longer:
    /// a receiver that was away for half a minute does not get its notices minutes late.
    var eager = Duration.seconds(5)

    func ceiling(attempt: Int, outage: Duration) -> Duration {
        min(backoff.ceiling(attempt: attempt), max(eager, outage / 4))
    }
}
