import Blackbox
import TestServers
import Testing
import Vitals

extension IntegrationTests {
    /// The database refuses connections, or says nothing: the verdict says so with its reason, and one page is sent, under the name of the cause.
    @Suite struct NoConnectionTests {
        private static func receivers(_ receiver: WebhookReceiver) -> String {
            "receivers:\n  - { name: oncall, webhook: \"\(receiver.url)\" }"
        }

        private static func alerts(_ receiver: WebhookReceiver) -> [String] {
            receiver.accepted.map { "\($0.json["alerts"][0]["labels"]["alertname"].string ?? "?") \($0.status)" }
        }

        @Test("D11: when new connections are refused it is degraded while the application has some, critical when it has none, with the server's reason")
        func refused() async throws {
            let neighbours = try await Neighbourhood.ofItsOwn()
            try await neighbours.prepare()
            let receiver = WebhookReceiver(port: try unusedPort())
            try await receiver.open()
            let healthd = try await Healthd.start(neighbours.settings(more: Self.receivers(receiver)))
            try await eventually("calm") { try await healthd.web.get("/api/health").json["state"].string == "healthy" }

            // As after a password was changed: who is in stays in.
            try await neighbours.postgres.superuserScript("ALTER ROLE app NOLOGIN")
            try await eventually("degraded") { try await healthd.verdict("postgres") == "degraded" }
            let warning = try await healthd.reason("postgres")
            #expect(warning.contains("takes no new connections: locked out") && warning.contains("not permitted to log in"), "\(warning)")
            #expect(try await healthd.web.get("/api/workspaces?limit=1").status == 200)
            #expect(try await healthd.verdict("pool") == "healthy")

            try await neighbours.postgres.superuserScript(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app' AND application_name = 'healthd'")
            try await eventually("critical") { try await healthd.verdict("postgres") == "critical" }
            #expect(try await healthd.reason("postgres").contains("locked out"))
            try await eventually("the pool is critical, too") { try await healthd.verdict("pool") == "critical" }
            #expect(try await healthd.reason("pool").contains("not permitted to log in"))
            let health = try await healthd.web.get("/api/health")
            #expect(health.status == 503)
            #expect(try health.json["output"].string?.contains("not permitted to log in") == true, "\(health.text)")
            #expect(try await healthd.web.get("/api/workspaces?limit=1").status == 503)

            try await neighbours.postgres.superuserScript("ALTER ROLE app LOGIN")
            try await eventually("healthy again") { try await healthd.web.get("/api/health").json["state"].string == "healthy" }
            try await eventually("the all-clear") { Self.alerts(receiver).last == "postgres-down resolved" }
            #expect(Set(Self.alerts(receiver)) == ["postgres-down firing", "postgres-down resolved"], "\(Self.alerts(receiver))")
            #expect(try await healthd.end() == 0)
            try await receiver.close()
        }

        @Test("A12: a database that freezes under load is one page, postgres-down: who holds its connections is not the cause")
        func frozen() async throws {
            let neighbours = try await Neighbourhood.ofItsOwn()
            try await neighbours.prepare(seed: false)
            let receiver = WebhookReceiver(port: try unusedPort())
            try await receiver.open()
            let healthd = try await Healthd.start(neighbours.settings(poolMax: 2, more: Self.receivers(receiver)), arguments: ["--demo"])
            try await eventually("calm") { try await healthd.web.get("/api/health").json["state"].string == "healthy" }
            neighbours.postgres.freeze()
            defer { neighbours.postgres.thaw() }
            async let held = healthd.web.post("/api/demo/hold", #"{"callers":6,"seconds":5}"#, within: .seconds(60))
            try await eventually("a page") { !receiver.accepted.isEmpty }
            try await steadily("one page", for: .seconds(3)) { Self.alerts(receiver) == ["postgres-down firing"] }
            neighbours.postgres.thaw()
            _ = try? await held
            try await receiver.close()
        }

        @Test("A12: a database that takes connections and says nothing is one page, postgres-down")
        func silent() async throws {
            let silent = try FakeServer(.silent)
            let receiver = WebhookReceiver(port: try unusedPort())
            try await receiver.open()
            let healthd = try await Healthd.start("database: { url: \"postgres://app@127.0.0.1:\(silent.port)/app\" }\n\(Self.receivers(receiver))")
            try await eventually("a page") { !receiver.accepted.isEmpty }
            try await eventually("the pool is critical, too") { try await healthd.verdict("pool") == "critical" }
            // Somebody asks meanwhile.
            for _ in 0..<20 { #expect(try await healthd.web.get("/api/workspaces").status == 503) }
            try await steadily("one page", for: .seconds(3)) { Self.alerts(receiver) == ["postgres-down firing"] }
            #expect(try await healthd.reason("postgres").contains("not answering"))
            #expect(try await healthd.end() == 0)
            try await receiver.close()
        }
    }
}
