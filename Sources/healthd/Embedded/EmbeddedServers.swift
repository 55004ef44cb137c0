import AppCore
import Logging
import Vitals

/// The private servers of a start without a configured database: in the state folder, stopped with us, found again after we were killed.
struct EmbeddedServers: Sendable {
    /// Which of them are wanted; what is configured is not started.
    struct Kinds: OptionSet, Sendable {
        let rawValue: Int
        static let postgres = Kinds(rawValue: 1)
        static let redis = Kinds(rawValue: 2)
    }

    /// Nil when it was not wanted.
    let postgres: PostgresEndpoint?
    /// Nil when it was not wanted, is not installed or did not start: the memory tier alone then serves.
    let redis: RedisEndpoint?

    private let postgresServer: EmbeddedPostgres?
    private let redisServer: EmbeddedRedis?

    /// Where all servers are configured.
    static let none = EmbeddedServers(postgres: nil, redis: nil, postgresServer: nil, redisServer: nil)

    /// Starts what is wanted, both at once. A cold start with existing data takes well below a second, `initdb` one or two more.
    ///
    /// - Parameters:
    ///   - state: locked by the caller, for as long as the servers run.
    ///   - poolMax: connections the pool may open; the server allows some more.
    /// - Throws: `EmbeddedServerError` when PostgreSQL cannot be had, or the task is cancelled; nothing is left running then.
    static func start(
        _ kinds: Kinds = [.postgres, .redis], state: StateFolder, poolMax: Int = 10, environment: [String: String] = [:],
        time: any TimeSource, logger: Logger
    ) async throws -> EmbeddedServers {
        let user = try ServerUser.current()
        let programs = ServerPrograms.installed(environment: environment)
        func folder(_ name: String) -> ServerFolder { ServerFolder(path: "\(state.path)/\(name)", user: user, time: time) }

        let postgres =
            kinds.contains(.postgres)
            ? EmbeddedPostgres(folder: folder("postgres"), programs: programs, connections: poolMax + 30, logger: logger) : nil
        let redis =
            kinds.contains(.redis)
            ? programs.redis.map { EmbeddedRedis(folder: folder("redis"), program: $0, logger: logger) } : nil
        if kinds.contains(.redis), redis == nil {
            logger.info("redis-server is not installed: the cache has its memory tier alone")
        }
        async let redisStarted = isStarted(redis, logger: logger)
        do {
            try await postgres?.start()
        } catch {
            if await redisStarted { await redis?.stop() }
            throw error
        }
        let hasRedis = await redisStarted
        return EmbeddedServers(
            postgres: postgres?.endpoint, redis: hasRedis ? redis?.endpoint : nil, postgresServer: postgres,
            redisServer: hasRedis ? redis : nil)
    }

    private static func isStarted(_ redis: EmbeddedRedis?, logger: Logger) async -> Bool {
        guard let redis else { return false }
        do {
            try await redis.start()
            return true
        } catch {
            if Task.isCancelled { return false }
            logger.warning("no private Redis: the cache has its memory tier alone", metadata: ["reason": "\(error)"])
            return false
        }
    }

    /// Stops both, at once: asked first, forced after some seconds. Goes on when the task is cancelled; at most about 12 s.
    func stop() async {
        async let redis: Void? = redisServer?.stop()
        await postgresServer?.stop()
        _ = await redis
    }
}
