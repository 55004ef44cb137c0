/// A value the cache may hold. Its JSON has a member `version`, which grows with every write to the row it was read from.
public protocol CacheableValue: Codable, Sendable {
    var version: Int { get }
}

extension Workspace: CacheableValue {}

/// A value, where it came from and how old it is.
public struct CacheAnswer<Value: Sendable>: Sendable {
    public enum Source: String, Sendable, Hashable {
        case memory, redis, loaded
        /// Expired; a load failed, and this is better than nothing.
        case stale
    }

    public let value: Value
    public let source: Source
    /// Since it was loaded or taken from Redis.
    public let age: Duration
}
