import Blackbox
import FoundationEssentials
import TestServers
import Testing

extension IntegrationTests {
    @Suite struct SurfaceTests {
        @Test func `every surface answers with real content`() async throws {
            let neighbours = try await SharedServers.forOneTest()
            try await neighbours.prepare()
            let healthd = try await Healthd.start(neighbours.settings())
            let web = healthd.web
            try await eventually("all is well") { try await web.get("/api/health").json["status"].string == "pass" }

            let page = try await web.get("/")
            #expect(page.status == 200)
            #expect(page.headers["content-type"]?.hasPrefix("text/html") == true)
            for part in ["pool", "cache", "task", "quer"] { #expect(page.text.lowercased().contains(part), "the page says nothing of \(part)") }

            #expect(try await web.get("/livez").status == 200)
            #expect(try await web.get("/readyz?verbose").text.contains("[+]"))
            #expect(try await web.get("/readyz").status == 200)

            let health = try await web.get("/api/health")
            #expect(health.headers["content-type"]?.hasPrefix("application/health+json") == true)
            #expect(try health.json["status"].string == "pass")
            for component in ["pool", "postgres", "redis", "queries", "process"] {
                #expect(try !health.json["checks"][component].isNull, "no check of \(component)")
            }

            let pool = try await web.get("/api/health/pool").json
            #expect(Set(pool.members.keys) == ["totalCount", "idleCount", "waitingCount", "status"])
            #expect(pool["status"].string == "healthy")
            #expect((pool["totalCount"].int ?? 0) >= 1)
            #expect(try await web.get("/api/health/pool/holders").status == 200)
            #expect(try await web.get("/api/alerts").status == 200)
            #expect(try await web.get("/no/such/thing").status == 404)
            #expect(try await healthd.end() == 0)
        }

        @Test func `workspaces and what belongs to them`() async throws {
            let neighbours = try await SharedServers.forOneTest()
            try await neighbours.prepare()
            let healthd = try await Healthd.start(neighbours.settings())
            let web = healthd.web

            let list = try await web.get("/api/workspaces").json
            let workspaces = list.items.isEmpty ? list["workspaces"].items : list.items
            let first = try #require(workspaces.first?["id"].int)
            let overview = try await web.get("/api/workspaces/\(first)/overview")
            #expect(overview.status == 200)
            #expect(try await web.get("/api/workspaces/\(first)/snapshots").status == 200)
            #expect(try await web.get("/api/workspaces/\(first)/audit-logs").status == 200)

            let made = try await web.post("/api/workspaces", #"{"name":"Long semis","ticker":"NVDA","thesis":"Data centres"}"#)
            #expect(made.status == 201, "\(made.text)")
            let id = try #require(try made.json["id"].int)
            let changed = try await web.send(
                "PATCH", "/api/workspaces/\(id)", headers: ["content-type": "application/json"], body: #"{"name":"Short semis"}"#, within: .seconds(20))
            #expect(changed.status == 200, "\(changed.text)")
            // Through the cache: what was written is what is read.
            #expect(try await web.get("/api/workspaces/\(id)").json["name"].string == "Short semis")
        }

        @Test func `the seed's first workspace is number 1, and takes a task`() async throws {
            let neighbours = try await SharedServers.forOneTest()
            try await neighbours.prepare()
            let healthd = try await Healthd.start(neighbours.settings())
            let web = healthd.web
            let overview = try await web.get("/api/workspaces/1/overview")
            #expect(overview.status == 200, "\(overview.text)")
            #expect(try overview.json["workspace"]["id"].int == 1)
            let made = try await web.post("/api/agents/tasks", #"{"workspaceId": 1, "type": "thesis-validation", "params": {}}"#)
            #expect(made.status == 201, "\(made.text)")
            #expect(try made.json["workspaceId"].int == 1)
            #expect(try await web.post("/api/agents/tasks", #"{"workspaceId": 9007199254740993, "type": "thesis-validation"}"#).status == 404)
        }

        @Test(arguments: [
            ("/api/agents/tasks", #"{"type":"risk-assessment"}"#, "workspaceId"),
            ("/api/agents/tasks", #"{"workspaceId":1,"type":"no-such-type"}"#, "type"),
            ("/api/agents/tasks", #"{"workspaceId":"00000000-0000-0000-0000-000000000000","type":"risk-assessment"}"#, "workspaceId"),
            ("/api/agents/tasks", #"{"workspaceId":9223372036854775808,"type":"risk-assessment"}"#, "workspaceId"),
            ("/api/workspaces", #"{"ticker":"NVDA"}"#, "name"),
        ])
        func `a bad body is a 400 that names the field`(path: String, body: String, field: String) async throws {
            let neighbours = try await SharedServers.forOneTest()
            try await neighbours.prepare(seed: false)
            let healthd = try await Healthd.start(neighbours.settings())
            let answer = try await healthd.web.post(path, body)
            #expect(answer.status == 400)
            #expect(try answer.json["message"].string?.contains(field) == true, "\(answer.text)")
            #expect(try answer.json["error"].string != nil)
        }

        @Test func `a body that is no JSON, or too long, is refused as such`() async throws {
            let neighbours = try await SharedServers.forOneTest()
            try await neighbours.prepare(seed: false)
            let healthd = try await Healthd.start(neighbours.settings())
            #expect(try await healthd.web.post("/api/agents/tasks", "{not json").status == 400)
            let long = #"{"workspaceId":""# + String(repeating: "x", count: 8 << 20) + #""}"#
            #expect(try await healthd.web.post("/api/agents/tasks", long).status == 413)
        }

        @Test func `a database that lacks a table says which migration to run`() async throws {
            let neighbours = try await SharedServers.forOneTest()
            let healthd = try await Healthd.start(neighbours.settings())
            let answer = try await healthd.web.get("/api/workspaces")
            #expect(answer.status >= 500)
            #expect(answer.text.contains("0001_core"), "\(answer.text)")
            #expect(answer.text.contains("migrate"), "\(answer.text)")
        }
    }
}
