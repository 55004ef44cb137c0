import Blackbox
import FoundationEssentials
import TestServers
import Testing

extension IntegrationTests {
    /// What an answer costs, in the memory of the program.
    @Suite struct BigAnswersTests {
        /// Resident memory at its highest since the last call of `forget`, in bytes.
        private func peak(of healthd: Healthd) throws -> Int {
            let status = try String(contentsOfFile: "/proc/\(healthd.pid)/status", encoding: .utf8)
            let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") })
            return try #require(Int(line.filter(\.isNumber))) * 1_024
        }

        private func forget(_ healthd: Healthd) throws {
            try "5".write(toFile: "/proc/\(healthd.pid)/clear_refs", atomically: false, encoding: .utf8)
        }

        @Test("J3: no answer costs more than 8 MiB beyond what it sends, however much is stored")
        func bounded() async throws {
            let neighbours = try await SharedServers.forOneTest()
            try await neighbours.prepare(seed: false)
            let healthd = try await Healthd.start(neighbours.settings())
            let web = healthd.web
            #expect(try await web.post("/api/workspaces", #"{"name":"Long semis","ticker":"NVDA"}"#).status == 201)
            let numbers = (0..<140_000).map { "\($0)" }.joined(separator: ",")
            for number in 0..<50 {
                let made = try await web.post("/api/workspaces/1/snapshots", #"{"type":"t\#(number)","payload":{"x":[\#(numbers)]}}"#)
                #expect(made.status == 201, "\(made.text.prefix(200))")
            }
            for path in ["/api/workspaces/1/snapshots", "/api/workspaces/1/snapshots?limit=500", "/api/workspaces/1/overview"] {
                // Once before: what is made at the first use of a thing is made once.
                _ = try await web.get(path)
                try forget(healthd)
                let before = try peak(of: healthd)
                let answer = try await web.get(path)
                #expect(answer.status == 200)
                let cost = try peak(of: healthd) - before - answer.text.utf8.count
                #expect(cost <= 8 << 20, "\(path): \(cost >> 10) KiB beyond the \(answer.text.utf8.count >> 10) KiB it sends")
            }
            #expect(try await healthd.end() == 0)
        }
    }
}
