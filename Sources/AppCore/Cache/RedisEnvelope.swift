import FoundationEssentials
import Vitals

/// A value as it is kept in Redis: with the key it belongs to, since keys can be renamed and shared, and with its whole lifetime. Its age is
/// that, less the time that Redis says is left: one clock.
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

/// What Redis runs for the cache, each in one step.
enum RedisScripts {
    /// The value and the milliseconds that are left of it.
    static let read: RedisArgument = "return {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])}"

    /// Stores unless a newer version is there: a process that read before a write must not put the older value over the newer one.
    ///
    /// A write that finds a newer version cannot tell a race from a database that went back in time: then neither is believed for a moment.
    /// What is not ours is written over.
    static let store: RedisArgument = """
        local present = redis.call('GET', KEYS[1])
        if present then
            local readable, value = pcall(cjson.decode, present)
            if readable and type(value) == 'table' then
                if value.doubt == KEYS[1] then return 0 end
                if value.key == KEYS[1] and type(value.version) == 'number' and value.version > tonumber(ARGV[1]) then
                    if ARGV[4] == 'write' then redis.call('SET', KEYS[1], ARGV[5], 'PX', ARGV[6]) end
                    return 0
                end
            end
        end
        redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
        return 1
        """

    /// Stands for a value that nobody knows: it is a miss to readers, and nothing is stored over it.
    static func doubt(about key: String) -> RedisArgument { RedisArgument(JSONValue.object(["doubt": .string(key)]).text) }
}
