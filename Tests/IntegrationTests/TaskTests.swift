import Blackbox
import TestServers
import Testing
import Vitals

extension IntegrationTests {
    /// Agent tasks and overviews, many at once.
    @Suite struct TaskTests {
        static func workspaces(_ web: Web) async throws -> [Int] {
            let list = try await web.get("/api/workspaces").json
            return (list.items.isEmpty ? list["workspaces"].items : list.items).compactMap { $0["id"].int }
        }

        static func submit(_ web: Web, _ workspace: Int, _ type: String = "risk-assessment") async throws -> Web.Answer {
            try await web.post("/api/agents/tasks", #"{"workspaceId":\#(workspace),"type":"\#(type)","params":{}}"#, within: .seconds(30))
        }

        @Test(arguments: ["thesis-validation", "earnings-analysis", "risk-assessment"])
        func `a task runs to its end, and leaves a result`(type: String) async throws {
            let neighbours = try await SharedServers.forOneTest()
            try await neighbours.prepare()
            let healthd = try await Healthd.start(neighbours.settings())
            let workspace = try #require(try await Self.workspaces(healthd.web).first)
            let logsBefore = try await healthd.web.get("/api/workspaces/\(workspace)/audit-logs").text

            let made = try await Self.submit(healthd.web, workspace, type)
            #expect(made.status == 201, "\(made.text)")
            let id = try #require(try made.json["id"].string)
            let events = try await healthd.web.events("/api/agents/tasks/\(id)/stream", within: .seconds(60)) { $0.kind.hasPrefix("task:completed") || $0.kind.hasPrefix("task:failed") }
            let kinds = events.map(\.kind)
            #expect(kinds.first == "task:state")
            #expect(kinds.last == "task:completed", "\(events.last?.data ?? "")")
            #expect(kinds.contains("step:started") && kinds.contains("step:completed"))

            let task = try await healthd.web.get("/api/agents/tasks/\(id)").json
            #expect(task["state"].string == "completed", "\(task)")
            #expect(try await healthd.web.get("/api/workspaces/\(workspace)/audit-logs").text != logsBefore)
            #expect(try await healthd.web.get("/api/agents/tasks/\(id)/telemetry").status == 200)
        }

        @Test func `fifty tasks and a hundred overviews at once: none fails`() async throws {
            let neighbours = try await SharedServers.forOneTest()
            try await neighbours.prepare()
            let healthd = try await Healthd.start(neighbours.settings())
            let web = healthd.web
            let ids = try await Self.workspaces(web)
            try #require(!ids.isEmpty)

            struct Told: Sendable { var what: String, status: Int }
            let statuses = try await withThrowingTaskGroup(of: Told.self) { group in
                for index in 0..<50 {
                    group.addTask { Told(what: "task", status: try await Self.submit(web, ids[index % ids.count]).status) }
                }
                for index in 0..<100 {
                    group.addTask {
                        Told(what: "overview", status: try await web.get("/api/workspaces/\(ids[index % ids.count])/overview", within: .seconds(30)).status)
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(statuses.count == 150)
            #expect(statuses.filter { $0.what == "task" }.allSatisfy { $0.status == 201 }, "\(statuses)")
            #expect(statuses.filter { $0.what == "overview" }.allSatisfy { $0.status == 200 }, "\(statuses)")

            try await eventually("all tasks are done", within: .seconds(60), every: .milliseconds(200)) {
                try await neighbours.count("SELECT count(*) FROM agent_tasks WHERE state NOT IN ('completed', 'failed')") == 0
            }
            #expect(try await neighbours.count("SELECT count(*) FROM agent_tasks WHERE state = 'completed'") == 50)
        }

        @Test func `twenty streams miss nothing`() async throws {
            let neighbours = try await SharedServers.forOneTest()
            try await neighbours.prepare()
            let healthd = try await Healthd.start(neighbours.settings())
            let web = healthd.web
            let ids = try await Self.workspaces(web)
            try #require(!ids.isEmpty)
            let streams = try await withThrowingTaskGroup(of: [Web.Event].self) { group in
                for index in 0..<20 {
                    group.addTask {
                        let made = try await Self.submit(web, ids[index % ids.count], ["thesis-validation", "risk-assessment"][index % 2])
                        let id = try #require(try made.json["id"].string)
                        return try await web.events("/api/agents/tasks/\(id)/stream", within: .seconds(60)) { $0.kind == "task:completed" || $0.kind == "task:failed" }
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            for events in streams {
                #expect(events.last?.kind == "task:completed")
                // The state that opens a stream stands for all before it; from there on each number follows the last.
                let numbers = events.filter { $0.kind != "task:state" }.compactMap { Int($0.id.split(separator: "-").last ?? "") ?? Int($0.id.split(separator: ":").last ?? "") }
                #expect(numbers.count == events.filter { $0.kind != "task:state" }.count, "\(events.map(\.id))")
                #expect(zip(numbers, numbers.dropFirst()).allSatisfy { $1 == $0 + 1 }, "\(numbers)")
            }
        }
    }
}

extension Neighbourhood {
    /// A number straight from the database.
    func count(_ sql: String) async throws -> Int {
        // The query part may hold slashes, too: the folder of the socket.
        let address = database.split(separator: "?").first ?? ""
        let name = address.split(separator: "/").last.map(String.init) ?? "app"
        return Int(try await postgres.superuserScript(sql, database: name)) ?? -1
    }
}
