@testable import AppCore
import Hummingbird
import Logging
import NIOHTTP1
import TestServers
import Testing
import Vitals

@testable import healthd

/// What clients say and are told about workspaces and their tasks, with a database behind it.
@Suite struct `Workspace routes` {
    private typealias Server = `HTTP server`.Server

    /// With the small seed, or nothing, in the database.
    private static func serve(seeded: Bool = false, _ body: @escaping @Sendable (Server) async throws -> Void) async throws {
        let postgres = try await TestPostgres.start()
        let loop = try EventLoop()
        defer { loop.shutdown() }
        let endpoint = PostgresEndpoint(keywords: ["host": postgres.socketDirectory, "user": "app", "dbname": "app"])
        let logger = Logger(label: "test")
        let pool = Pool(PoolConfiguration(max: 4, deadline: .seconds(60)), endpoint: endpoint, loop: loop, logger: logger)
        let database = Database(pool: pool)
        let workspaces = WorkspaceStore(database: database, cache: TieredCache(redis: nil, logger: logger))
        let hub = EventHub(database: database, bootID: "test", logger: logger)
        let tasks = AgentTaskStore(database: database, hub: hub)
        let ladder = DegradeLadder(lastGood: LastGood(), statistics: HTTPStatistics())
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await pool.run() }
            try await Migrator(database: database, logger: logger).up()
            if seeded { _ = try await Seed(database: database, scale: .small).run() }
            try await `HTTP server`.serve { routes in
                addWorkspaceRoutes(to: &routes, workspaces: workspaces, ladder: ladder)
                addTaskRoutes(to: &routes, tasks: tasks, hub: hub, time: SystemTime())
            } _: { server in
                try await body(server)
            }
            group.cancelAll()
        }
    }

    @Test func `the plan's own requests are answered`() async throws {
        try await Self.serve(seeded: true) { web in
            let made = try await web.send(.POST, "/api/agents/tasks", body: #"{"workspaceId": 1, "type": "thesis-validation", "params": {}}"#)
            #expect(made.status == 201, "\(made.body)")
            #expect(made.json?["workspaceId"] == 1)
            let overview = try await web.send(.GET, "/api/workspaces/1/overview")
            #expect(overview.status == 200, "\(overview.body)")
            #expect(overview.json?["workspace"]?["id"] == 1)
            guard case .array(let tasks) = overview.json?["tasks"] else {
                Issue.record("\(overview.body)")
                return
            }
            #expect(tasks.map { $0["workspaceId"] } == [1])
        }
    }

    @Test func `a workspace is a number from 1 on, and is found under it`() async throws {
        try await Self.serve { web in
            for number in 1...2 {
                let made = try await web.send(.POST, "/api/workspaces", body: #"{"name":"Long semis","ticker":"NVDA"}"#)
                #expect(made.status == 201 && made.json?["id"] == .integer(number), "\(made.body)")
                #expect(made.headers.first(name: "location") == "/api/workspaces/\(number)")
            }
            // Written in digits, it is the same number.
            let task = try await web.send(.POST, "/api/agents/tasks", body: #"{"workspaceId":"2","type":"risk-assessment"}"#)
            #expect(task.status == 201 && task.json?["workspaceId"] == 2, "\(task.body)")
            let snapshot = try await web.send(.POST, "/api/workspaces/2/snapshots", body: #"{"type":"note","payload":{"a":1}}"#)
            #expect(snapshot.status == 201 && snapshot.json?["workspaceId"] == 2, "\(snapshot.body)")
            #expect(try await web.send(.PATCH, "/api/workspaces/2", body: #"{"name":"Short semis"}"#).json?["name"] == "Short semis")
            for path in ["/api/workspaces/2", "/api/workspaces/2/snapshots", "/api/workspaces/2/audit-logs", "/api/agents/workspaces/2/tasks"] {
                let answer = try await web.send(.GET, path)
                #expect(answer.status == 200, "\(path): \(answer.body)")
            }
        }
    }

    /// Percent-encoded where a path needs it.
    static let bad = [
        "0", "00", "01", "-1", "%2B1", "%201", "1%20", "1.0", "1e3", "0x1", "true", "null", "one", "1%00", "%D9%A1", "9223372036854775808",
        "0b9c0000-0000-4000-8000-00000000000a",
    ]
    static let paths: [(HTTPMethod, @Sendable (String) -> String)] = [
        (.GET, { "/api/workspaces/\($0)" }), (.PATCH, { "/api/workspaces/\($0)" }), (.GET, { "/api/workspaces/\($0)/overview" }),
        (.GET, { "/api/workspaces/\($0)/snapshots" }), (.POST, { "/api/workspaces/\($0)/snapshots" }),
        (.GET, { "/api/workspaces/\($0)/audit-logs" }), (.GET, { "/api/agents/workspaces/\($0)/tasks" }),
    ]

    @Test func `any other part of a path is a 400 that names it, and a number nobody has is a 404`() async throws {
        try await Self.serve { web in
            for (method, path) in Self.paths {
                let body = method == .GET ? nil : path("").hasSuffix("snapshots") ? #"{"type":"a","payload":1}"# : #"{"name":"a"}"#
                for id in Self.bad {
                    let answer = try await web.send(method, path(id), body: body)
                    #expect(answer.status == 400 && answer.json?["error"] == "invalid", "\(method) \(path(id)): \(answer.status) \(answer.body)")
                    let message = answer.json?["message"]?.stringValue ?? ""
                    #expect(message.hasPrefix("workspace id is ") && message.hasSuffix("1 to 9223372036854775807, in decimal digits"), "\(message)")
                }
                for id in ["9", "9007199254740993", "9223372036854775807"] {
                    let answer = try await web.send(method, path(id), body: body)
                    #expect(answer.status == 404, "\(method) \(path(id)): \(answer.status) \(answer.body)")
                    // To the last digit: a JSON number is no Double here.
                    #expect(answer.json?["message"]?.stringValue == "workspace \(id) does not exist", "\(answer.body)")
                }
            }
            for id in ["9", "9007199254740993", "9223372036854775807", "\"9007199254740993\""] {
                let answer = try await web.send(.POST, "/api/agents/tasks", body: #"{"workspaceId":\#(id),"type":"risk-assessment"}"#)
                #expect(answer.status == 404, "\(answer.body)")
                #expect(answer.json?["message"]?.stringValue == "workspace \(id.filter { $0 != "\"" }) does not exist", "\(answer.body)")
            }
            for id in ["null", "true", "0", "-1", "1.0", "1e3", "9223372036854775808", "[1]", "{}", "\"\"", "\"1.0\"", "\" 1\"", "\"x\""] {
                let answer = try await web.send(.POST, "/api/agents/tasks", body: #"{"workspaceId":\#(id),"type":"risk-assessment"}"#)
                #expect(answer.status == 400, "\(id): \(answer.body)")
                #expect(answer.json?["message"]?.stringValue?.hasPrefix("workspaceId ") == true, "\(answer.body)")
            }
        }
    }

    @Test func `a status nobody knows is refused with those there are`() async throws {
        try await Self.serve { web in
            let answer = try await web.send(.PATCH, "/api/workspaces/1", body: #"{"status":"closed"}"#)
            #expect(answer.status == 400 && answer.json?["message"] == "status is \"closed\"; expected one of active, paused, archived", "\(answer.body)")
        }
    }

    @Test func `tasks and users keep their UUIDs`() async throws {
        try await Self.serve { web in
            for (path, field) in [("/api/agents/tasks/1", "task id"), ("/api/workspaces?userId=1", "userId")] {
                let answer = try await web.send(.GET, path)
                #expect(answer.status == 400 && answer.json?["message"] == .string("\(field) is \"1\"; expected a UUID"), "\(answer.body)")
            }
        }
    }

    @Test("J3: a list that is long comes page by page, and a long page whole")
    func pages() async throws {
        try await Self.serve { web in
            _ = try await web.send(.POST, "/api/workspaces", body: #"{"name":"Long semis","ticker":"NVDA"}"#)
            let payload = String(repeating: "a", count: 700_000)
            for number in 1...3 {
                let made = try await web.send(.POST, "/api/workspaces/1/snapshots", body: #"{"type":"t\#(number)","payload":"\#(payload)"}"#)
                #expect(made.status == 201 && made.json?["payload"]?.stringValue == payload)
            }
            for list in ["snapshots", "audit-logs"] {
                let refused = try await web.send(.GET, "/api/workspaces/1/\(list)?before=7")
                #expect(refused.status == 400 && refused.json?["message"]?.stringValue?.hasPrefix("before is \"7\"; expected") == true, "\(refused.body)")
            }
            let first = try await web.send(.GET, "/api/workspaces/1/snapshots")
            #expect(first.headers.first(name: "content-length") == "\(first.body.utf8.count)" && first.body.utf8.count > 1_400_000)
            let next = try #require(first.json?["next"]?.stringValue)
            let second = try await web.send(.GET, "/api/workspaces/1/snapshots?before=\(next)")
            #expect(second.json?["next"] == nil)
            let types = [first, second].map { answer -> [String] in
                guard case .array(let snapshots) = answer.json?["snapshots"] else { return [] }
                return snapshots.compactMap { $0["type"]?.stringValue }
            }
            #expect(types == [["t3", "t2"], ["t1"]])
            let head = try await web.send(.HEAD, "/api/workspaces/1/snapshots")
            #expect(head.status == 200 && head.body.isEmpty)
        }
    }

    @Test("J3: what a task is given says what to do, and is no data")
    func longParams() async throws {
        try await Self.serve { web in
            _ = try await web.send(.POST, "/api/workspaces", body: #"{"name":"Long semis","ticker":"NVDA"}"#)
            func create(_ length: Int) async throws -> `HTTP server`.Answer {
                let text = String(repeating: "a", count: length)
                return try await web.send(.POST, "/api/agents/tasks", body: #"{"workspaceId":1,"type":"risk-assessment","params":{"a":"\#(text)"}}"#)
            }
            #expect(try await create(65_528).status == 201)
            let refused = try await create(65_529)
            #expect(refused.status == 400 && refused.json?["message"] == "params has 65537 bytes; expected at most 65536", "\(refused.body.prefix(200))")
        }
    }
}
