import FoundationEssentials
import Vitals

/// A value as it is kept in Redis: with the key it belongs to, since keys can be renamed and shared, and with its whole lifetime.
///
/// Its age is its lifetime minus the PTTL, so only Redis's clock counts.
struct RedisEnvelope<Value: CacheableValue>: Codable {
    var key: String
    var version: Int
    /// Milliseconds from its load on.
    var lifetime: Int
    var value: Value

    init(_ value: Value, key: String, lifetime: Duration) {
        self.key = key
        version = value.version
        self.lifetime = Int(lifetime.nanoseconds / 1_000_000)
        self.value = value
    }

    /// Empty when the value cannot be written as JSON: it is then kept in memory alone.
    var bytes: [UInt8] { (try? JSONEncoder().encode(self)).map { Array($0) } ?? [] }

    /// Nil for whatever is not a value of this type that was put under this key: written by another application, or by another version of
    /// this program.
    init?(_ bytes: [UInt8], for key: String) {
        guard let found = try? JSONDecoder().decode(Self.self, from: Data(bytes)), found.key == key, found.value.belongs(under: key),
            found.version == found.value.version, found.lifetime > 0
        else { return nil }
        self = found
    }
}
