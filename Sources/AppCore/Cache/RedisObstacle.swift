public import Vitals

/// What keeps the cache from Redis, or from one of the operations it needs there.
public struct RedisObstacle: Sendable, Hashable {
    public var kind: RedisError.Kind
    /// What Redis or the system said, on what, and what a person can do.
    public var reason: String
    public var since: MonotonicInstant

    public init(kind: RedisError.Kind, reason: String, since: MonotonicInstant) {
        self.kind = kind
        self.reason = reason
        self.since = since
    }
}
