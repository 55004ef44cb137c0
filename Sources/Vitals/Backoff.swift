/// Delays between attempts: exponential, capped, with full jitter, so that many failing parts do not line up.
///
/// Source: "Exponential Backoff and Jitter", AWS Architecture Blog, 2015 ("full jitter").
public struct Backoff: Sendable, Hashable {
    public var base: Duration
    public var cap: Duration

    public init(base: Duration, cap: Duration) {
        precondition(base > .zero && cap >= base, "Backoff needs 0 < base <= cap")
        self.base = base
        self.cap = cap
    }

    /// The longest delay before attempt `attempt` (1 is the first retry).
    public func ceiling(attempt: Int) -> Duration {
        precondition(attempt >= 1, "attempts are counted from 1")
        let doublings = min(attempt - 1, 40)
        let scaled = base.nanoseconds.multipliedReportingOverflow(by: 1 << doublings)
        return scaled.overflow ? cap : min(cap, .nanoseconds(scaled.partialValue))
    }

    /// Uniform in `0...ceiling(attempt:)`.
    public func delay(attempt: Int, using generator: inout some RandomNumberGenerator) -> Duration {
        .nanoseconds(Int64.random(in: 0...ceiling(attempt: attempt).nanoseconds, using: &generator))
    }

    public func delay(attempt: Int) -> Duration {
        var generator = SystemRandomNumberGenerator()
        return delay(attempt: attempt, using: &generator)
    }
}
