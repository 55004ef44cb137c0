/// The one absolute instant by which the caller needs an answer: it covers the queue and the query.
/// A statement still running then is cancelled after the caller was told.
public struct Deadline: Sendable, Hashable, Comparable {
    public var instant: MonotonicInstant

    public init(_ instant: MonotonicInstant) {
        self.instant = instant
    }

    /// The deadline of the work this task does for somebody; set per route or task with `$current.withValue`.
    @TaskLocal public static var current: Deadline?

    public static let never = Deadline(MonotonicInstant(nanoseconds: .max))

    public func remaining(at now: MonotonicInstant) -> Duration {
        instant.nanoseconds == .max ? .seconds(Int64.max / 4_000_000_000) : instant - now
    }

    public func hasPassed(at now: MonotonicInstant) -> Bool { instant <= now }

    public static func < (left: Self, right: Self) -> Bool { left.instant < right.instant }
}

extension TimeSource {
    /// The caller's deadline if one is set and earlier, else `budget` from now.
    public func deadline(within budget: Duration) -> Deadline {
        let own = Deadline(now() + budget)
        return Deadline.current.map { min($0, own) } ?? own
    }
}
