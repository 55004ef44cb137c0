// placeholder until below
import Vitals
import Logging
public protocol CacheableValue: Codable, Sendable { var version: Int { get } }
extension Workspace: CacheableValue {}
public final class TieredCache: Sendable {
    public struct Answer<V: Sendable>: Sendable { public let value: V }
    public func value<V: CacheableValue>(for key: String, as type: V.Type, load: @escaping @Sendable () async throws -> V) async throws -> Answer<V> { Answer(value: try await load()) }
    public func store<V: CacheableValue>(_ v: V, for key: String) async {}
}
