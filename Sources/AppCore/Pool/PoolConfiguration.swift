import Vitals

/// The settings of one pool. The defaults are what production needs. Every value is checked where it is read.
public struct PoolConfiguration: Sendable, Hashable {
    /// Most connections at once, 1 or more. A ceiling, not a target: about five keep two busy cores at work.
    public var max: Int
    /// Connections kept open when nobody needs them, at most `max`; 2 unless `max` is 1.
    public var min: Int
    /// An idle connection beyond `min` is closed after this long.
    public var idleTimeout: Duration
    /// One attempt to connect may take this long.
    public var connectTimeout: Duration
    /// The time of a caller that brings no deadline, for queue and statements together.
    public var deadline: Duration
    /// A connection is replaced at this age or earlier. How much earlier differs, so that they do not all end at once: a random part of up to a
    /// tenth, and then as much as keeps its end 250 ms from the ends of the others, or less in a large pool (`Retirements`). Zero: never.
    public var lifetime: Duration
    /// Callers that may queue; the next is refused. Background callers may take half of it. A critical caller is refused only when this many of
    /// its own class queue. A batch takes one place, however many callers ride in it.
    public var waiters: Int
    /// Connections that are opened beyond `max`, for callers of the critical class alone, when all others are in use.
    public var reserved: Int
    /// Whether single statements of concurrent callers may share a round trip.
    public var batching: Bool
    /// Whether statements that come again are prepared on the server under a name.
    public var prepared: PreparedStatements

    public init(
        max: Int = 20, min: Int? = nil, idleTimeout: Duration = .seconds(30), connectTimeout: Duration = .seconds(5),
        deadline: Duration = .seconds(2), lifetime: Duration = .seconds(1_800), waiters: Int = 200, reserved: Int = 1,
        batching: Bool = true, prepared: PreparedStatements = .auto
    ) {
        let min = min ?? Swift.min(2, max)
        precondition(max >= 1 && min >= 0 && min <= max && waiters >= 0 && reserved >= 0, "a pool needs 1 <= max, 0 <= min <= max")
        self.max = max
        self.min = min
        self.idleTimeout = idleTimeout
        self.connectTimeout = connectTimeout
        self.deadline = deadline
        self.lifetime = lifetime
        self.waiters = waiters
        self.reserved = reserved
        self.batching = batching
        self.prepared = prepared
    }

    /// Most connections that background work has at once: three quarters, at least 1. The rest is left to work that somebody waits for.
    public var backgroundMax: Int { Swift.max(1, max * 3 / 4) }

    /// A lease held longer than this is reported as a suspected leak.
    public var leakThreshold: Duration { deadline * 2 }
}
