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

    struct Pool: Sendable, Hashable {
        var max: Int
        var min: Int
        var idle: Duration
        var connect: Duration
        /// From asking for a connection to the end of the query, when the caller sets none.
        var deadline: Duration
        var lifetime: Duration
        var waiters: Int
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

    struct Probes: Sendable, Hashable {
        var interval: Duration
        var timeout: Duration
    }

    struct Receiver: Sendable, Hashable {
        var name: String
        var webhook: String
        var secret: Secret?
    }

    var listen: ListenAddress
    /// The state folder; absolute.
    var state: String
    var database: DatabaseChoice
    var pool: Pool
    var cache: Cache
    var tasks: Tasks
    var probes: Probes
    /// One for every `RuleSettings.Name`, in that order.
    var rules: [RuleSettings]
    var receivers: [Receiver]

    func rule(_ name: RuleSettings.Name) -> RuleSettings {
        rules.first { $0.name == name } ?? .standard(name)
    }
}
