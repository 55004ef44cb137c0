import Blackbox
import Glibc
import TestServers
import Testing
import Vitals

extension IntegrationTests {
    /// Whoever reads the log stops, or goes away: lines may be lost, nothing else.
    @Suite struct LogReaderTests {
        /// A database that is not there is enough for a daemon that serves.
        private static let settings = "database: { url: \"postgres://app@127.0.0.1:1/app\" }"

        /// Makes it log as much as it can be made to: each reload of this file is refused, and the log tells all of it.
        private static func logALot(_ healthd: Healthd, reloads: Int) async throws {
            let problems = (0..<60).map { "unknown-setting-number-\($0): { with: a value }" }.joined(separator: "\n")
            try healthd.folder.write("\(settings)\n\(problems)\n", to: "healthd.yaml")
            for _ in 0..<reloads {
                let answer = try await healthd.web.post("/-/reload", "", within: .seconds(10))
                #expect(answer.status == 422 || answer.status == 400, "\(answer.status) \(answer.text.prefix(200))")
            }
        }

        private static func dropped(_ healthd: Healthd) async throws -> Int {
            let text = try await healthd.web.get("/metrics").text
            let line = text.split(separator: "\n").first { $0.hasPrefix("healthd_log_dropped_lines_total ") }
            return try #require(line.flatMap { Int($0.split(separator: " ")[1]) }, "no such metric")
        }

        /// Everything in the FIFO, again and again until `isEnough`.
        private static func read(_ fifo: String, until isEnough: (String) -> Bool) async throws -> String {
            let descriptor = open(fifo, O_RDONLY | O_NONBLOCK)
            try #require(descriptor >= 0)
            defer { close(descriptor) }
            var text = ""
            var chunk = [UInt8](repeating: 0, count: 65_536)
            try await eventually("the log is read") {
                while case let count = Glibc.read(descriptor, &chunk, chunk.count), count > 0 {
                    text += String(decoding: chunk[..<count], as: UTF8.self)
                }
                return isEnough(text)
            }
            return text
        }

        @Test func `a pipe that nobody reads stops nothing, and later says what is missing`() async throws {
            let healthd = try await Healthd.start(Self.settings, reader: .stalled)
            #expect(try await Self.dropped(healthd) == 0)
            try await Self.logALot(healthd, reloads: 320)
            #expect(try await Self.dropped(healthd) > 0)
            #expect(try await healthd.web.get("/livez").status == 200)

            let log = try await Self.read("\(healthd.folder.path)/log") { $0.contains("dropped because the log's reader did not keep up") }
            let said = try #require(log.firstMatch(of: /lines=(\d+) .* (\d+) lines were dropped because the log's reader did not keep up\n/))
            #expect(try await Self.dropped(healthd) == Int(said.1) && said.1 == said.2)
            #expect(try await healthd.end() == 0)
        }

        @Test func `a pipe that nobody reads does not keep it from ending`() async throws {
            let healthd = try await Healthd.start(Self.settings, reader: .stalled)
            // More than a pipe holds.
            try await Self.logALot(healthd, reloads: 30)
            let began = MonotonicInstant.now()
            #expect(try await healthd.end() == 0)
            #expect(MonotonicInstant.now() - began < promise(.seconds(8), "it ends in time though nobody reads its log"))
        }

        @Test func `a pipe whose reader is gone stops nothing`() async throws {
            let healthd = try await Healthd.start(Self.settings, reader: .gone)
            try await Self.logALot(healthd, reloads: 20)
            #expect(try await Self.dropped(healthd) >= 20)
            #expect(try await healthd.web.get("/livez").status == 200)
            #expect(try await healthd.end() == 0)
        }

        @Test func `a file that may not grow any more stops nothing`() async throws {
            let healthd = try await Healthd.start(Self.settings, prefix: ["prlimit", "--fsize=65536"])
            try await Self.logALot(healthd, reloads: 20)
            try await eventually("lines are missing") { try await Self.dropped(healthd) > 0 }
            #expect(try await healthd.web.get("/livez").status == 200)
            #expect(try await healthd.end() == 0)
        }

        @Test(arguments: [Program.LogReader.stalled, .gone])
        func `a start that fails keeps its exit status`(reader: Program.LogReader) async throws {
            // More problems than the pipe has room for.
            let problems = (0..<1_000).map { "unknown-setting-number-\($0): { with: a value }" }.joined(separator: "\n")
            let (status, _) = try await Healthd.refusal(problems, reader: reader)
            #expect(status == 78)
        }
    }
}
