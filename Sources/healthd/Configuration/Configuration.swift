import AppCore
import Probes
import Vitals

/// Everything an operator may set, decoded once into typed values. Nothing here is read a second time, clamped or guessed.
///
/// Key names and defaults: docs/CONFIGURATION.md.
struct Configuration: Sendable, Hashable {
    /// Which servers to use where none is configured.
    enum Mode: Sendable, Hashable {
        /// The configured ones; a missing database is a problem.
        case configured
        /// Private ones, started by ourselves, for what is not configured.
        case embedded
    }

    enum DatabaseChoice: Sendable, Hashable {
        case external(ConnectionKeywords)
        case embedded
    }

    enum CacheChoice: Sendable, Hashable {
        case redis(RedisEndpoint)
        case embedded
        /// The memory tier alone.
        case memoryOnly
    }

    struct Cache: Sendable, Hashable {
        var choice: CacheChoice
        var ttl: Duration
        var memory: ByteCount
        var deadline: Duration
    }

    struct Tasks: Sendable, Hashable {
        var concurrency: Int
        var perWorkspace: Int
    }

    struct Probing: Sendable, Hashable {
        var interval: Duration
        var timeout: Duration
    }

    var listen: ListenAddress
    /// Where people find this healthd; nil for this machine's name.
    var externalURL: ExternalURL?
    /// The state folder; absolute.
    var state: String
    var database: DatabaseChoice
    var pool: PoolConfiguration
    var cache: Cache
    var tasks: Tasks
    var probes: Probing
    /// `Rule.standard` with what was set, in that order.
    var rules: [Rule]
    var receivers: [Receiver]
}
