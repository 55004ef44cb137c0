import Blackbox
import TestServers
import Testing
import Vitals

extension IntegrationTests {
    /// What healthd says, and how fast it still says it, while its neighbours are stopped or frozen.
    @Suite struct FaultTests {
        enum Fault: String, CaseIterable, Sendable {
            case stopped, frozen

            /// What the reason has to say.
            var words: String { self == .stopped ? " down" : "not answering" }
        }

        static let noticed = promise(.milliseconds(2_500), "the verdict is right after a server was stopped or frozen")
        static let recovered = promise(.seconds(2), "the verdict is right again after a server's return")
        /// The scrape stays this fast, whatever the database does; on a calm machine.
        static let slowestScrape = Duration.milliseconds(3)

        @Test(arguments: Fault.allCases)
        func `PostgreSQL fails and comes back`(fault: Fault) async throws {
            let neighbours = try await Neighbourhood.ofItsOwn()
            try await neighbours.prepare()
            let healthd = try await Healthd.start(neighbours.settings())
            try await eventually("calm") { try await healthd.verdict("postgres") == "healthy" }
            let postgres = neighbours.postgres

            switch fault {
            case .stopped: try await postgres.stop()
            case .frozen: postgres.freeze()
            }
            let noticed = try await eventually("critical") { try await healthd.verdict("postgres") == "critical" }
            #expect(noticed < Self.noticed, "it took \(noticed)")
            try await Self.expectReason(of: fault, on: "postgres", from: healthd)
            #expect(try await healthd.web.get("/api/health").status == 503)
            #expect(try await healthd.web.get("/livez").status == 200)
            try await Self.expectFastScrapes(healthd)
            #expect(try await healthd.verdict("postgres") == "critical")

            switch fault {
            case .stopped: try await postgres.startAgain()
            case .frozen: postgres.thaw()
            }
            let recovered = try await eventually("healthy again") { try await healthd.verdict("postgres") == "healthy" }
            #expect(recovered < Self.recovered, "it took \(recovered)")
            try await eventually("work goes on") { try await healthd.web.get("/api/workspaces").status == 200 }
            #expect(try await healthd.end() == 0)
        }

        @Test(arguments: Fault.allCases)
        func `Redis fails and comes back, and reads go on`(fault: Fault) async throws {
            let neighbours = try await Neighbourhood.ofItsOwn()
            try await neighbours.prepare()
            let healthd = try await Healthd.start(neighbours.settings())
            try await eventually("calm") { try await healthd.verdict("redis") == "healthy" }
            let list = try await healthd.web.get("/api/workspaces").json
            let ids = (list.items.isEmpty ? list["workspaces"].items : list.items).compactMap { $0["id"].int }
            try #require(!ids.isEmpty)
            let redis = neighbours.redis

            switch fault {
            case .stopped: try await redis.stop()
            case .frozen: redis.freeze()
            }
            let noticed = try await eventually("critical") { try await healthd.verdict("redis") == "critical" }
            #expect(noticed < Self.noticed, "it took \(noticed)")
            try await Self.expectReason(of: fault, on: "redis", from: healthd)
            for id in ids.prefix(20) {
                #expect(try await healthd.web.get("/api/workspaces/\(id)/overview").status == 200)
                #expect(try await healthd.web.get("/api/workspaces/\(id)").status == 200)
            }
            try await Self.expectFastScrapes(healthd)

            switch fault {
            case .stopped: try await redis.startAgain()
            case .frozen: redis.thaw()
            }
            let recovered = try await eventually("healthy again") { try await healthd.verdict("redis") == "healthy" }
            #expect(recovered < Self.recovered, "it took \(recovered)")
        }

        @Test func `it starts while the database is down, and says so`() async throws {
            let neighbours = try await Neighbourhood.ofItsOwn()
            try await neighbours.prepare(seed: false)
            try await neighbours.postgres.stop()
            let healthd = try await Healthd.start(neighbours.settings())
            try await eventually("critical") { try await healthd.verdict("postgres") == "critical" }
            let answer = try await healthd.web.get("/api/workspaces")
            #expect(answer.status == 503)
            #expect(answer.headers["retry-after"] != nil)
            try await neighbours.postgres.startAgain()
            try await eventually("at work") { try await healthd.web.get("/api/workspaces").status == 200 }
        }

        private static func expectReason(of fault: Fault, on component: String, from healthd: Healthd) async throws {
            let reason = try await healthd.reason(component).lowercased()
            #expect(reason.contains(fault.words), "\(fault) is told as: \(reason)")
        }

        /// Three hundred scrapes while the fault lasts, of which none may fail; of three rounds the best one counts.
        private static func expectFastScrapes(_ healthd: Healthd) async throws {
            var rounds: [String] = []
            for _ in 1...3 {
                let (scrapes, reference) = try await beside { try await Latency.measure(port: healthd.port, count: 300) }
                let (slowest, allowed) = (scrapes.quantile(0.99), reference.allows(slowestScrape, share: 0.99))
                rounds.append("p99 \(slowest.text) of \(allowed.text): \(reference.text)")
                print("scrapes:", rounds[rounds.count - 1])
                if slowest < allowed { return }
            }
            Issue.record("\(rounds)")
        }
    }
}
