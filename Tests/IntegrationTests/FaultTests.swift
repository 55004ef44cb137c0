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

        /// The scrape stays this fast, whatever the database does.
        static let slowestScrape = 3.0  // ms

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
            let noticed = try await eventually("critical", within: .seconds(10)) { try await healthd.verdict("postgres") == "critical" }
            #expect(noticed < .milliseconds(2_500), "it took \(noticed)")
            try await Self.expectReason(of: fault, on: "postgres", from: healthd)
            #expect(try await healthd.web.get("/api/health").status == 503)
            #expect(try await healthd.web.get("/livez").status == 200)
            try await Self.expectFastScrapes(healthd)
            #expect(try await healthd.verdict("postgres") == "critical")

            switch fault {
            case .stopped: try await postgres.startAgain()
            case .frozen: postgres.thaw()
            }
            let recovered = try await eventually("healthy again", within: .seconds(10)) { try await healthd.verdict("postgres") == "healthy" }
            #expect(recovered < .seconds(2), "it took \(recovered)")
            try await eventually("work goes on", within: .seconds(10)) { try await healthd.web.get("/api/workspaces").status == 200 }
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
            let noticed = try await eventually("critical", within: .seconds(10)) { try await healthd.verdict("redis") == "critical" }
            #expect(noticed < .milliseconds(2_500), "it took \(noticed)")
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
            let recovered = try await eventually("healthy again", within: .seconds(10)) { try await healthd.verdict("redis") == "healthy" }
            #expect(recovered < .seconds(2), "it took \(recovered)")
        }

        @Test func `it starts while the database is down, and says so`() async throws {
            let neighbours = try await Neighbourhood.ofItsOwn()
            try await neighbours.prepare(seed: false)
            try await neighbours.postgres.stop()
            let healthd = try await Healthd.start(neighbours.settings())
            try await eventually("critical", within: .seconds(3)) { try await healthd.verdict("postgres") == "critical" }
            let answer = try await healthd.web.get("/api/workspaces")
            #expect(answer.status == 503)
            #expect(answer.headers["retry-after"] != nil)
            try await neighbours.postgres.startAgain()
            try await eventually("at work", within: .seconds(5)) { try await healthd.web.get("/api/workspaces").status == 200 }
        }

        private static func expectReason(of fault: Fault, on component: String, from healthd: Healthd) async throws {
            let reason = try await healthd.reason(component).lowercased()
            #expect(reason.contains(fault.words), "\(fault) is told as: \(reason)")
        }

        /// Three hundred scrapes while the fault lasts. The machine may have something else to do for a moment; of three rounds the
        /// best one counts, and none may fail.
        private static func expectFastScrapes(_ healthd: Healthd) async throws {
            var rounds: [Double] = []
            for _ in 1...3 {
                rounds.append(try await Latency.measure(port: healthd.port, count: 300).percentile(0.99))
                if rounds[rounds.count - 1] < slowestScrape { return }
            }
            #expect(rounds.min() ?? .infinity < slowestScrape, "p99 in ms, by round: \(rounds)")
        }
    }
}
