import Logging
import TestServers
import Testing
import Vitals

@testable import AppCore

/// The application's parts over private servers: a migrated database, a cache with or without Redis, tasks and their streams.
struct TestApplication: Sendable {
    let database: Database
    let redis: RedisConnection?
    let cache: TieredCache
    let hub: EventHub
    let workspaces: WorkspaceStore
    let tasks: AgentTaskStore
    let worker: TaskWorker

    /// Runs `body` with everything running but the worker, whose life belongs to the test.
    ///
    /// - Parameter pool: by default with a minute for each statement: most tests look at what happens, not at how fast a busy machine is.
    static func with<Result: Sendable>(
        _ server: TestPostgres, redis: TestRedis? = nil, seeded: Bool = false, encoding: String? = nil, log: LogLines? = nil,
        pool configuration: PoolConfiguration = PoolConfiguration(max: 8, deadline: .seconds(60)),
        _ body: @Sendable (TestApplication) async throws -> Result
    ) async throws -> Result {
        let name = try #require(try await server.makeDatabase(encoding: encoding).firstMatch(of: /test_[0-9]+/)).output
        let loop = try EventLoop()
        defer { loop.shutdown() }
        let logger = log?.logger ?? Logger(label: "test")
        let endpoint = server.endpoint(["dbname": String(name)])
        let pool = Pool(configuration, endpoint: endpoint, loop: loop, logger: logger)
        let database = Database(pool: pool)
        let connection = redis.map { RedisConnection(RedisEndpoint(address: .unix(path: $0.socketPath)), deadline: .milliseconds(200), loop: loop, logger: logger) }
        let cache = TieredCache(redis: connection, logger: logger)
        let hub = EventHub(database: database, bootID: "boot", logger: logger)
        let unreadable = UnreadableRows(logger: logger)
        let workspaces = WorkspaceStore(database: database, cache: cache, unreadable: unreadable)
        let tasks = AgentTaskStore(database: database, hub: hub, unreadable: unreadable, onAbsence: { await workspaces.foundGone($0) })
        let application = TestApplication(
            database: database, redis: connection, cache: cache, hub: hub, workspaces: workspaces, tasks: tasks, worker: TaskWorker(store: tasks, name: "test", logger: logger))
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await pool.run() }
            group.addTask { await cache.run() }
            group.addTask { await hub.run() }
            if let connection { group.addTask { await connection.run() } }
            try await Migrator(database: database, logger: logger).up()
            if seeded { _ = try await Seed(database: database, scale: .small).run() }
            let result = try await body(application)
            group.cancelAll()
            return result
        }
    }

    /// Runs `body` while the worker works, and waits for the worker to give back what it has.
    func working<Result: Sendable>(_ body: @Sendable () async throws -> Result) async throws -> Result {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await worker.run() }
            do {
                let result = try await body()
                worker.stop()
                try await group.waitForAll()
                return result
            } catch {
                worker.stop()
                throw error
            }
        }
    }

    /// Sends it as a client does.
    ///
    /// - Returns: what is answered.
    @discardableResult
    func addSnapshot(_ body: String, to workspace: Workspace.ID) async throws -> String {
        String(decoding: try await workspaces.addSnapshotDocument(workspace, SentDataSnapshot(body: body.utf8)).bytes, as: UTF8.self)
    }

    func untilRedisIsUp() async throws {
        try await until("Redis is up") { redis?.isUp == true }
    }

    /// Follows a task to its end, from the start or from an event id; answers what the stream said.
    func follow(_ id: AgentTask.ID, after lastEventID: String? = nil) async throws -> [ServerSentEvent] {
        var events: [ServerSentEvent] = []
        for await event in try await hub.stream(of: id, lastEventID: lastEventID) {
            events.append(event)
            if let name = event.event, TaskEvent.Kind(rawValue: name).isFinal { break }
        }
        return events
    }
}

extension RedisConnection {
    var isUp: Bool { if case .up = status { true } else { false } }
}

/// Runs `body` while the cache runs.
func running<Result: Sendable>(_ cache: TieredCache, _ body: @Sendable () async throws -> Result) async throws -> Result {
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { await cache.run() }
        // Until it runs, callers load for themselves.
        try await until("the cache runs") { cache.isRunning }
        let result = try await body()
        group.cancelAll()
        return result
    }
}

extension TestRedis {
    /// A cache that uses this server, and all that it and its connection log; as `user` where one is named, whose password is `pw`.
    func withCache(
        _ configuration: CacheConfiguration = CacheConfiguration(), path: String? = nil, user: String? = nil, time: any TimeSource = SystemTime(),
        _ body: @Sendable (TieredCache, RedisConnection, LogLines) async throws -> Void
    ) async throws {
        let loop = try EventLoop()
        defer { loop.shutdown() }
        let log = LogLines()
        let endpoint = RedisEndpoint(address: .unix(path: path ?? socketPath), user: user, password: user.map { _ in Secret("pw") })
        let connection = RedisConnection(endpoint, deadline: .seconds(5), loop: loop, logger: log.logger)
        let cache = TieredCache(configuration: configuration, redis: connection, time: time, logger: log.logger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await connection.run() }
            try await until("Redis is up") { connection.isUp }
            try await running(cache) { try await body(cache, connection, log) }
            group.cancelAll()
        }
    }
}
