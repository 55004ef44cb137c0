import CLinux

/// A point on the machine's monotonic clock: for ages and deadlines, never for rows or notices.
///
/// Source: `CLOCK_MONOTONIC`; it does not jump when the wall clock is set, and stops while the machine is suspended.
public struct MonotonicInstant: Sendable, Hashable, Comparable {
    public var nanoseconds: Int64

    public init(nanoseconds: Int64) {
        self.nanoseconds = nanoseconds
    }

    public static func now() -> MonotonicInstant {
        MonotonicInstant(nanoseconds: monotonic_nanoseconds())
    }

    public static func < (left: Self, right: Self) -> Bool { left.nanoseconds < right.nanoseconds }

    /// Saturates instead of trapping, so that `now + .seconds(.max)` means "never".
    public static func + (instant: Self, duration: Duration) -> Self { instant.advanced(byNanoseconds: duration.nanoseconds) }

    /// The same as `self + duration`, without the 128-bit arithmetic of `Duration`: for what is done at every statement.
    public func advanced(byNanoseconds amount: Int64) -> Self { Self(nanoseconds: nanoseconds.addingSaturated(amount)) }

    public static func - (instant: Self, duration: Duration) -> Self { instant + (.zero - duration) }

    /// The same as `self - earlier`, without the 128-bit arithmetic of `Duration`: for what is done at every statement.
    public func nanoseconds(since earlier: Self) -> Int64 { nanoseconds.subtractingSaturated(earlier.nanoseconds) }

    public static func - (later: Self, earlier: Self) -> Duration { .nanoseconds(later.nanoseconds(since: earlier)) }
}
