@testable import AppCore
import Hummingbird
import Logging
import NIOHTTP1
import TestServers
import Testing
import Vitals

@testable import healthd

/// The routes of the ladder on a real server in real trouble.
@Suite struct `Degraded reads` {
    enum Trouble: String, CaseIterable, Sendable {
        /// Sleepers hold every connection.
        case saturated
        /// SIGSTOP to every process of the server.
        case frozen
        case stopped
        /// Somebody has locked the tables, and the server gives up whoever waits for them.
        case locked

        /// What a read that never succeeded is told.
        var codes: Set<String> {
            switch self {
            case .saturated: ["pool_saturated"]
            case .frozen: ["deadline_exceeded", "pool_saturated", "database_unavailable"]
            case .stopped: ["database_unavailable", "pool_saturated"]
            case .locked: ["database_busy"]
            }
        }
    }

    private struct Scene: Sendable {
        let postgres: TestPostgres
        let database: Database
        let web: `HTTP server`.Server
        /// One that is read before the trouble, and one that is not.
        let known: Workspace
        let unknown: Workspace

        var reads: [String] {
            [
                "/api/workspaces/\(known.id)/overview", "/api/workspaces/\(known.id)/snapshots?limit=7", "/api/workspaces/\(known.id)/audit-logs",
                "/api/market/\(known.ticker)/history?limit=5",
            ]
        }
    }

    private static func scene(_ body: @escaping @Sendable (Scene) async throws -> Void) async throws {
        let postgres = try await TestPostgres.start()
        try await postgres.superuserScript("ALTER ROLE app SET lock_timeout = '200ms'")
        let loop = try EventLoop()
        defer { loop.shutdown() }
        let logger = Logger(label: "test")
        let endpoint = PostgresEndpoint(keywords: ["host": postgres.socketDirectory, "user": "app", "dbname": "app"])
        let pool = Pool(PoolConfiguration(max: 2, deadline: .milliseconds(800)), endpoint: endpoint, loop: loop, logger: logger)
        let database = Database(pool: pool)
        let cache = TieredCache(
            configuration: CacheConfiguration(lifetime: .milliseconds(500), load: .milliseconds(800)), redis: nil, logger: logger)
        let workspaces = WorkspaceStore(database: database, cache: cache)
        let statistics = HTTPStatistics()
        let ladder = DegradeLadder(lastGood: LastGood(), statistics: statistics)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await pool.run() }
            group.addTask { await cache.run() }
            try await Migrator(database: database, logger: logger).up()
            _ = try await Seed(database: database, scale: .small).run()
            let list = try await workspaces.list(limit: 2)
            try await `HTTP server`.serve { routes in
                addWorkspaceRoutes(to: &routes, workspaces: workspaces, ladder: ladder)
            } _: { server in
                try await body(Scene(postgres: postgres, database: database, web: server, known: list[0], unknown: list[1]))
            }
            group.cancelAll()
        }
    }

    /// Runs `body` while the trouble lasts.
    private static func during(_ trouble: Trouble, _ scene: Scene, _ body: () async throws -> Void) async throws {
        switch trouble {
        case .saturated:
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<2 {
                    group.addTask { _ = try? await scene.database.query("SELECT pg_sleep(120)", for: "sleeper", within: .seconds(120)) }
                }
                try await until("both connections are held") { scene.database.pool.statistics().leased == 2 }
                try await body()
                group.cancelAll()
            }
        case .frozen:
            scene.postgres.freeze()
            defer { scene.postgres.thaw() }
            try await body()
        case .locked:
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    _ = try? await scene.postgres.superuserScript(
                        """
                        BEGIN; LOCK TABLE workflows, workspace_data_snapshots, ai_audit_logs, market_snapshots IN ACCESS EXCLUSIVE MODE;
                        SELECT pg_sleep(300)
                        """)
                }
                let holders = "SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_sleep(300)' AND pid <> pg_backend_pid()"
                try await until("the tables are locked") { try await scene.postgres.superuserScript(holders) != "" }
                try await body()
                try await scene.postgres.superuserScript("SELECT pg_terminate_backend(pid) FROM (\(holders)) AS holders")
            }
        case .stopped:
            try await scene.postgres.stop()
            try await body()
            try await scene.postgres.startAgain()
        }
    }

    @Test(arguments: Trouble.allCases)
    func `D12: reads go on, stale and with an age; what was never read is refused with a time to come back`(trouble: Trouble) async throws {
        try await Self.scene { scene in
            var fresh: [String: String] = [:]
            for path in scene.reads {
                let answer = try await scene.web.send(.GET, path)
                #expect(answer.status == 200 && answer.headers.first(name: "age") == nil, "\(path): \(answer.body.prefix(300))")
                fresh[path] = answer.body
            }
            let one = "/api/workspaces/\(scene.known.id)"
            #expect(try await scene.web.send(.GET, one).status == 200)

            try await Self.during(trouble, scene) {
                for path in scene.reads {
                    let answer = try await scene.web.send(.GET, path)
                    #expect(answer.status == 200, "\(path): \(answer.body.prefix(300))")
                    #expect(answer.body == fresh[path])
                    #expect((0...60).contains(Int(answer.headers.first(name: "age") ?? "") ?? -1), "\(path): \(answer.headers)")
                    #expect(answer.headers.first(name: "warning")?.hasPrefix("110 ") == true)
                }
                // From the cache's memory within its lifetime, then stale; never an error.
                try await until("\(one) is stale") {
                    let answer = try await scene.web.send(.GET, one)
                    #expect(answer.status == 200 && answer.headers.first(name: "age") != nil, "\(answer.body.prefix(300))")
                    return answer.status != 200 || answer.headers.first(name: "warning") != nil
                }
                for path in ["", "/overview", "/snapshots", "/audit-logs"].map({ "/api/workspaces/\(scene.unknown.id)\($0)" }) + ["/api/market/NONE/history"] {
                    let answer = try await scene.web.send(.GET, path)
                    #expect(answer.status == 503, "\(path): \(answer.body.prefix(300))")
                    #expect(trouble.codes.contains(answer.json?["error"]?.stringValue ?? ""), "\(answer.body)")
                    let seconds = try #require(answer.headers.first(name: "retry-after").flatMap { Int($0) })
                    #expect(seconds >= 1 && answer.json?["retryAfter"]?.intValue == seconds)
                }
            }

            for path in scene.reads {
                try await until("\(path) is fresh again") {
                    let answer = try await scene.web.send(.GET, path)
                    return answer.status == 200 && answer.headers.first(name: "warning") == nil
                }
            }
        }
    }

    @Test func `what this process wrote is never followed by what was kept before`() async throws {
        try await Self.scene { scene in
            let one = "/api/workspaces/\(scene.known.id)"
            for path in scene.reads { #expect(try await scene.web.send(.GET, path).status == 200) }
            let json = [("content-type", "application/json")]
            #expect(try await scene.web.send(.PATCH, one, json, body: #"{"name":"renamed"}"#).status == 200)
            try await Self.during(.saturated, scene) { () async throws in
                for path in ["/overview", "/snapshots?limit=7", "/audit-logs"] {
                    #expect(try await scene.web.send(.GET, one + path).status == 503, "\(path)")
                }
                // The cache has the new one, and nothing of the market was written.
                #expect(try await scene.web.send(.GET, one).body.contains("renamed"))
                #expect(try await scene.web.send(.GET, "/api/market/\(scene.known.ticker)/history?limit=5").status == 200)
            }
        }
    }

    @Test func `what was kept of one page is not told for another`() async throws {
        try await Self.scene { scene in
            let list = "/api/workspaces/\(scene.known.id)/snapshots"
            for type in ["t1", "t2", "t3"] {
                #expect(try await scene.web.send(.POST, list, body: #"{"type":"\#(type)","payload":{"a":1}}"#).status == 201)
            }
            let first = "\(list)?limit=1"
            let next = try #require(try await scene.web.send(.GET, first).json?["next"]?.stringValue)
            let pages = [first, "\(first)&before=\(next)", "\(first)&type=t1", "\(list)?limit=2"]
            var told: [String] = []
            for page in pages {
                let answer = try await scene.web.send(.GET, page)
                #expect(answer.status == 200, "\(page): \(answer.body.prefix(300))")
                told.append(answer.body)
            }
            #expect(Set(told).count == pages.count)
            let fresh = told
            try await Self.during(.saturated, scene) { () async throws in
                for (page, body) in zip(pages, fresh) {
                    let stale = try await scene.web.send(.GET, page, [("request-timeout", "0.05")])
                    #expect(stale.headers.first(name: "warning") != nil && stale.body == body, "\(page): \(stale.status) \(stale.body.prefix(300))")
                }
            }
        }
    }

    @Test("C4: what was kept of a workspace that is lost is not told of a new one with its number")
    func numberGivenAgain() async throws {
        try await Self.scene { scene in
            let json = [("content-type", "application/json")]
            let paths = ["/overview", "/snapshots?limit=7", "/audit-logs"].map { "/api/workspaces/1\($0)" }
            for path in paths + ["/api/workspaces/1"] { #expect(try await scene.web.send(.GET, path).status == 200) }
            try await scene.postgres.superuserScript("TRUNCATE workflows RESTART IDENTITY CASCADE")
            let made = try await scene.web.send(.POST, "/api/workspaces", json, body: #"{"name":"New","ticker":"ACME"}"#)
            #expect(made.json?["id"] == 1, "\(made.body)")
            #expect(try await scene.web.send(.GET, "/api/workspaces/1").body == made.body)
            try await Self.during(.saturated, scene) { () async throws in
                for path in paths { #expect(try await scene.web.send(.GET, path).status == 503, "\(path)") }
                #expect(try await scene.web.send(.GET, "/api/workspaces/1").json?["name"] == "New")
            }
        }
    }

    @Test("C3: a workspace that is gone is gone from its lists, too, whatever the cache has")
    func gone() async throws {
        try await Self.scene { scene in
            let one = "/api/workspaces/\(scene.known.id)"
            #expect(try await scene.web.send(.GET, one).status == 200)
            try await scene.database.execute("DELETE FROM workflows WHERE id = \(scene.known.id)", for: "test")
            for path in ["/snapshots", "/snapshots?type=none", "/audit-logs", ""] {
                #expect(try await scene.web.send(.GET, one + path).status == 404, "\(path)")
            }
        }
    }

    @Test func `a client's own time comes first`() async throws {
        try await Self.scene { scene in
            let path = scene.reads[0]
            #expect(try await scene.web.send(.GET, path).status == 200)
            try await Self.during(.saturated, scene) { () async throws in
                let both = try await judged(below: .milliseconds(700), tries: 1) {
                    try await timed {
                        let stale = try await scene.web.send(.GET, path, [("request-timeout", "0.05")])
                        #expect(stale.status == 200 && stale.headers.first(name: "warning") != nil)
                        let refused = try await scene.web.send(.GET, "/api/workspaces/\(scene.unknown.id)", [("request-timeout", "0.05")])
                        #expect(refused.status == 503 && refused.headers.first(name: "retry-after") != nil, "\(refused.body)")
                    }
                }
                #expect(both.holds, "the pool's own deadline was waited for: \(both)")
            }
        }
    }
}
