import AppCore
import Probes
import Vitals

extension Configuration {
    /// The rules that have something to look at.
    func boardRules(hasRedis: Bool) -> [Rule] {
        hasRedis ? rules : rules.filter { $0.component != "redis" }
    }

    /// Where a person finds this healthd's page: what was set, or this machine's name. The address listened on is mostly the loopback.
    var link: String { externalURL?.description ?? "http://\(hostName()):\(listen.port)/" }

    var startsServers: Bool { !embeddedServers.isEmpty }

    /// Private servers run as a user of their own, which must be able to pass through.
    var stateFolderMode: UInt32 { startsServers ? 0o711 : 0o700 }

    var embeddedServers: EmbeddedServers.Kinds {
        var kinds: EmbeddedServers.Kinds = []
        if database == .embedded { kinds.insert(.postgres) }
        if cache.choice == .embedded { kinds.insert(.redis) }
        return kinds
    }

    /// Where the servers are: the configured ones, or those just started.
    func servers(_ embedded: EmbeddedServers) throws -> Program.Servers {
        let postgres: PostgresEndpoint? =
            if case .external(let keywords) = database { keywords.endpoint } else { embedded.postgres }
        guard let postgres else { throw EmbeddedServerError("the private PostgreSQL was asked for and did not start") }
        let redis: RedisEndpoint? =
            switch cache.choice {
            case .redis(let endpoint): endpoint
            case .embedded: embedded.redis
            case .memoryOnly: nil
            }
        return Program.Servers(postgres: postgres, redis: redis)
    }
}

extension [Rule] {
    /// Those that are alerts. The others show what one of these tells.
    var told: [Rule] { filter { $0.toldBy == nil } }
}
