import Vitals

/// The caller's deadline came before the load it waited for ended. The load goes on for the others.
public struct CacheTimeout: Error, Sendable, Hashable, CustomStringConvertible {
    public var waited: Duration

    public var description: String { "cache: no value within \(waited.text)" }
}
