/// A value the cache may hold. Its JSON has a member `version`, which grows with every write to the row it was read from.
public protocol CacheableValue: Codable, Sendable {
    var version: Int { get }

    /// It was read from a standby: an older version there only says that the standby is behind.
    var mayLag: Bool { get }

    /// Whether this is what is kept under `key`. Others can write to Redis, too.
    func belongs(under key: String) -> Bool
}

extension CacheableValue {
    public var mayLag: Bool { false }
    public func belongs(under key: String) -> Bool { true }
}

extension Workspace: CacheableValue {
    public func belongs(under key: String) -> Bool { key == WorkspaceStore.cacheKey(id) }
}

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
