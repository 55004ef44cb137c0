import Blackbox
import FoundationEssentials
import Glibc
import TestServers
import Testing
import Vitals

extension IntegrationTests {
    /// The start with nothing configured: a private PostgreSQL and Redis, and nothing of them left behind.
    @Suite struct EmbeddedTests {
        /// Processes, other than the daemon itself, that have the state folder in their command line or their working directory.
        static func strays(of healthd: Healthd) -> [String] { strays(in: healthd.folder.path, besides: healthd.pid) }

        static func strays(in folder: String, besides own: pid_t) -> [String] {
            ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap { name in
                guard let pid = pid_t(name), pid != own else { return nil }
                let words = (try? String(contentsOfFile: "/proc/\(name)/cmdline", encoding: .utf8))?.replacing("\0", with: " ") ?? ""
                let directory = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(name)/cwd")) ?? ""
                let isOurs = words.contains("\(folder)/state") || directory.hasPrefix("\(folder)/state")
                // The shell that watches over the daemon for these tests has the path in its words, too.
                return isOurs && !words.hasPrefix("sh -c") ? "\(pid) \(words)" : nil
            }
        }

        @Test func `it serves within five seconds, and takes its servers with it`() async throws {
            let began = MonotonicInstant.now()
            // Most of it is the work of initdb and the two servers.
            let (healthd, reference) = try await beside {
                let healthd = try await Healthd.start("", arguments: ["--embedded", "--demo"])
                #expect(try await healthd.web.get("/metrics").status == 200)
                return healthd
            }
            let serves = Judged(.now() - began, bound: .seconds(5), reference: reference)
            print("embedded: it serves after \(serves)")
            #expect(serves.holds, "\(serves)")
            try await eventually("PostgreSQL is up") { try await healthd.verdict("postgres") == "healthy" }
            try await eventually("Redis is up") { try await healthd.verdict("redis") == "healthy" }
            try await eventually("there is something to see") {
                try await healthd.web.get("/api/workspaces").text.contains("\"id\"")
            }
            #expect(!Self.strays(of: healthd).isEmpty)
            #expect(try await healthd.end(with: SIGINT) == 0)
            #expect(Self.strays(of: healthd) == [])
        }

        @Test func `Ctrl-C at any moment of planting the demo's data ends with 0, and leaves no process, socket or folder`() async throws {
            // Ever later while it plants; where that has ended, back in smaller steps, however fast the machine is.
            var (moment, step) = (0, 40)
            var (tries, whilePlanting) = (0, 0)
            while tries < 6 || whilePlanting < 3 {
                tries += 1
                try #require(tries <= 15, "three at least have to come while it plants")
                let (folder, pid, hadPlanted) = try await Self.interrupted(after: .milliseconds(moment))
                #expect(Self.strays(in: folder, besides: pid) == [])
                #expect(!FileManager.default.fileExists(atPath: folder))
                if hadPlanted {
                    step /= 2
                    moment = max(0, moment - step)
                } else {
                    whilePlanting += 1
                    moment += step
                }
            }
        }

        /// Starts it, and interrupts it so long after the tables are there. Answers where it was, and whether it had planted its data by then.
        private static func interrupted(after delay: Duration) async throws -> (folder: String, pid: pid_t, planted: Bool) {
            let healthd = try await Healthd.start("", arguments: ["--embedded", "--demo"], untilItSays: "0002_performance_indexes.sql")
            let began = MonotonicInstant.now()
            try await until("the moment has come") { MonotonicInstant.now() - began >= delay }
            #expect(try await healthd.end(with: SIGINT) == 0, "\(delay.text): \(healthd.output.suffix(2_000))")
            let left = ["postgres/.s.PGSQL.5432", "postgres/.s.PGSQL.5432.lock", "postgres/data/postmaster.pid", "redis/redis.sock"]
            #expect(left.filter { FileManager.default.fileExists(atPath: "\(healthd.state)/\($0)") } == [])
            return (healthd.folder.path, healthd.pid, healthd.output.contains("demo data planted"))
        }

        /// From the first line about them on, in steps of what initdb and the two servers take.
        @Test(arguments: [0, 100, 300, 600, 1_000, 1_500])
        func `Ctrl-C while the private servers start ends with 0, and leaves no process; a hangup does not end the start`(milliseconds: Int) async throws {
            let folder = try TemporaryFolder("notices")
            let manager = try Manager(path: "\(folder.path)/notify")
            let healthd = try await Healthd.start(
                "", arguments: ["--embedded", "--demo"], environment: ["NOTIFY_SOCKET": manager.address], untilItSays: "initialising a private PostgreSQL")
            let began = MonotonicInstant.now()
            healthd.signal(SIGHUP)
            try await until("the moment has come") { MonotonicInstant.now() - began >= .milliseconds(milliseconds) }
            #expect(try await healthd.end(with: SIGINT) == 0, "\(healthd.output.suffix(2_000))")
            #expect(healthd.output.contains("[healthd] stopped"), "\(healthd.output.suffix(2_000))")
            #expect(Self.strays(of: healthd) == [])
            #expect(manager.received().filter { $0 == "STOPPING=1" }.count == 1)
        }

        @Test func `after a kill the next start adopts or cleans what was left`() async throws {
            let first = try await Healthd.start("", arguments: ["--embedded", "--demo"])
            try await eventually("PostgreSQL is up") { try await first.verdict("postgres") == "healthy" }
            try await first.end(with: SIGKILL)

            let second = try await Healthd.start("", arguments: ["--embedded", "--demo"], folder: first.folder)
            try await eventually("PostgreSQL is up") { try await second.verdict("postgres") == "healthy" }
            try await eventually("Redis is up") { try await second.verdict("redis") == "healthy" }
            let postmasters = Self.strays(of: second).filter { $0.contains("/postgres") && $0.contains("-D") }
            #expect(postmasters.count == 1, "\(postmasters)")
            #expect(try await second.end() == 0)
            #expect(Self.strays(of: second) == [])
        }
    }
}
