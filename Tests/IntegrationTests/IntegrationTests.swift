import Blackbox
import TestServers
import Testing

/// The built program against real servers, seen only from outside: HTTP, webhooks, signals, exit codes.
@Suite(.serialized, .inTurn, .timeLimit(.minutes(5)))
enum IntegrationTests {}

/// PostgreSQL and Redis for those tests that leave them as they are; started by the first that asks.
actor SharedServers {
    static let shared = SharedServers()

    private var servers: (postgres: TestPostgres, redis: TestRedis)?
    private var tests = 0

    private func started() async throws -> (postgres: TestPostgres, redis: TestRedis) {
        if let servers { return servers }
        let started = (try await TestPostgres.start(), try await TestRedis.start(tcp: true))
        servers = started
        return started
    }

    private func nextTest() -> Int {
        tests += 1
        return tests
    }

    /// A database of its own for one test, in PostgreSQL and in Redis: workspace 1 is another one in each.
    static func forOneTest() async throws -> Neighbourhood {
        let (postgres, redis) = try await shared.started()
        return Neighbourhood(
            postgres: postgres, redis: redis, database: try await postgres.makeDatabase(), redisDatabase: await shared.nextTest())
    }
}

/// The servers healthd is configured with.
struct Neighbourhood: Sendable {
    let postgres: TestPostgres
    let redis: TestRedis
    /// The connection string of the database.
    let database: String
    let redisDatabase: Int

    /// Servers of one test's own, to be stopped and frozen.
    static func ofItsOwn() async throws -> Neighbourhood {
        let postgres = try await TestPostgres.start()
        return Neighbourhood(postgres: postgres, redis: try await TestRedis.start(tcp: true), database: postgres.connectionString, redisDatabase: 0)
    }

    func settings(poolMax: Int = 10, more: String = "") -> String {
        """
        database:
          url: "\(database)"
          pool: { max: \(poolMax), min: 1 }
        cache: { url: "redis://127.0.0.1:\(redis.tcpPort ?? 0)/\(redisDatabase)" }
        \(more)
        """
    }

    /// Brings the database up to date and, when asked for, fills it, with the program's own verbs.
    func prepare(seed: Bool = true) async throws {
        try await verb("migrate", "up")
        if seed { try await verb("seed", "--scale", "small") }
    }

    func verb(_ words: String...) async throws {
        let folder = try TemporaryFolder("verb")
        let file = try folder.write("state: \(folder.path)\n\(settings())", to: "healthd.yaml")
        let program = try Program([Healthd.binary] + words + ["--config", file], log: "\(folder.path)/log")
        let status = try await program.ended(within: .seconds(60))
        guard status == 0 else { throw TestServerError("\(words.joined(separator: " ")): exit \(status): \(program.output)") }
    }
}

extension Healthd {
    /// The check that decides a component's state, as `/api/health` has it.
    func check(_ component: String) async throws -> JSON {
        try await web.get("/api/health").json["checks"][component][0]
    }

    /// The verdict on one component: `healthy`, `degraded`, `critical`, `unknown`.
    func verdict(_ component: String) async throws -> String {
        try await check(component)["state"].string ?? "absent"
    }

    /// Why the component stands as it does, with numbers.
    func reason(_ component: String) async throws -> String {
        try await check(component)["reason"].string ?? ""
    }
}
