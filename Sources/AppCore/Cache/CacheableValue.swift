/// A value the cache may hold.
public protocol CacheableValue: Codable, Sendable {
    /// Grows with every write to the row the value was read from.
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
