/// Where an answer of the cache comes from.
public enum CacheSource: String, Sendable, Hashable {
    case memory, redis, loaded
    /// Expired. A load failed or did not end in time, and this is better than nothing.
    case stale
}

/// A value, where it came from and how old it is.
public struct CacheAnswer<Value: Sendable>: Sendable {
    public let value: Value
    public let source: CacheSource
    /// Since the load it comes from began, in whichever process that was.
    public let age: Duration
}
