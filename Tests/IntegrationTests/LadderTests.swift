import Blackbox
import TestServers
import Testing
import Vitals

extension IntegrationTests {
    /// The program as it is joined: what its parts promise must come out at the end.
    @Suite struct LadderTests {
        @Test func `a blocked write says whom it waits for, and reads go on while PostgreSQL is frozen`() async throws {
            let neighbours = try await Neighbourhood.ofItsOwn()
            try await neighbours.prepare()
            let healthd = try await Healthd.start(neighbours.settings(), environment: ["HEALTHD_DATABASE_POOL_DEADLINE": "9s"])
            let web = healthd.web
            try await eventually("calm") { try await healthd.verdict("postgres") == "healthy" }
            let ids = try await web.get("/api/workspaces?limit=2").json["workspaces"].items.compactMap { $0["id"].int }
            try #require(ids.count == 2)

            // Somebody outside holds the row, and a request of ours waits for it.
            async let lock = neighbours.postgres.superuserScript(
                "BEGIN; UPDATE workflows SET name = name WHERE id = '\(ids[0])'; SELECT pg_sleep(5); COMMIT")
            try await eventually("the row is locked") {
                try await neighbours.postgres.superuserScript("SELECT count(*) FROM pg_stat_activity WHERE query = ' SELECT pg_sleep(5)'")
                    .contains("1")
            }
            async let change = web.send(
                "PATCH", "/api/workspaces/\(ids[0])", headers: ["content-type": "application/json"], body: #"{"name":"changed"}"#, within: .seconds(30))
            try await eventually("the wait is told") {
                let holders = try await web.get("/api/health/pool/holders").json["holders"].items
                return holders.contains { $0["backend"]["waitsFor"].string == "Lock:transactionid" && $0["backend"]["blockedBy"].items.count == 1 }
            }
            let table = try await healthd.verb("holders").output
            #expect(table.contains("Lock:transactionid, held by") && table.contains("PATCH"), "\(table)")
            let (changed, _) = try await (change, lock)
            #expect(changed.status == 200)

            let overview = "/api/workspaces/\(ids[0])/overview"
            let fresh = try await web.get(overview)
            #expect(fresh.status == 200 && fresh.headers["age"] == nil)
            neighbours.postgres.freeze()
            defer { neighbours.postgres.thaw() }
            let stale = try await web.get(overview, headers: ["request-timeout": "0.3"])
            #expect(stale.status == 200 && stale.headers["warning"]?.hasPrefix("110 ") == true && stale.headers["age"] != nil, "\(stale)")
            #expect(stale.text == fresh.text)
            let refused = try await web.get("/api/workspaces/\(ids[1])/overview", headers: ["request-timeout": "0.3"])
            #expect(refused.status == 503 && refused.headers["retry-after"] != nil, "\(refused)")
            #expect(try await web.get("/api/health/pool/holders").status == 200)
            try await eventually("both are counted") {
                let metrics = try await web.get("/metrics").text
                return ["stale", "refused"].allSatisfy {
                    metrics.contains("healthd_degraded_answers_total{handler=\"workspace_overview\",rung=\"\($0)\"} 1\n")
                }
            }
        }
    }
}
