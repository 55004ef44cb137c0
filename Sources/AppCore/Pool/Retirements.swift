import Vitals

/// When connections are replaced for their age: spread over the last tenth of their lifetime, and never two close together, so that a pool
/// that opened all at once does not lose all at once.
struct Retirements {
    /// At least this long between two. Where it and `lifetime` cannot both be had, connections live a little longer.
    static let pause = Duration.milliseconds(250)

    private var last: MonotonicInstant?

    /// The end of a lifetime that begins now: up to a tenth early, and apart from the ends of all others.
    static func end(of lifetime: Duration, from now: MonotonicInstant, others: [MonotonicInstant]) -> MonotonicInstant {
        var end = now + .seconds(Double.random(in: 0.9...1) * lifetime.seconds)
        for other in others.sorted(by: >) where other - end < pause {
            guard end - other < pause else { break }
            end = other - pause
        }
        return end
    }

    /// Whether a connection that is due at `end` goes now. If so the next one waits for the pause.
    mutating func begin(_ end: MonotonicInstant?, now: MonotonicInstant) -> Bool {
        guard let end, end <= now else { return false }
        if let last, now < last + Self.pause { return false }
        last = now
        return true
    }
}
