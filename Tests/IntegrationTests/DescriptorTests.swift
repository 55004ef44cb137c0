import Blackbox
import FoundationEssentials
import Glibc
import TestServers
import Testing
import Vitals

extension IntegrationTests {
    /// Few descriptors, and clients that take them all.
    @Suite struct DescriptorTests {
        static let settings = """
            database: { url: "postgres://nobody@127.0.0.1:1/none" }
            probes: { interval: 500ms }
            """

        static func silent(_ count: Int, port: Int) throws -> [RawClient] {
            try (0..<count).map { _ in
                let client = try RawClient(port: port)
                try client.sendHalfAHeader()
                return client
            }
        }

        @Test(arguments: [100, 128])
        func `silent clients keep nobody out, cost nothing, and are told of`(limit: Int) async throws {
            let healthd = try await Healthd.start(Self.settings, prefix: ["prlimit", "--nofile=\(limit):\(limit)"])
            try await eventually("the process is well") { try await healthd.verdict("process") == "healthy" }
            // A client of the kind that stays: a scraper with its one connection.
            let scraper = try RawClient(port: healthd.port)
            #expect(try await scraper.ask("/metrics").hasPrefix("HTTP/1.1 200"))

            var silent = try Self.silent(200, port: healthd.port)
            try await eventually("the verdict is critical") { try await healthd.verdict("process") == "critical" }
            #expect(try await healthd.reason("process").contains("file descriptors"))

            // Idle clients cost nothing: a spinning accept() would take a whole core.
            let began = (try cpuSeconds(of: healthd.pid), MonotonicInstant.now())
            try await steadily("a newcomer is served", for: .seconds(3), every: .milliseconds(500)) {
                try await healthd.web.get("/metrics", within: .seconds(4)).status == 200
            }
            let busy = (try cpuSeconds(of: healthd.pid) - began.0) / (MonotonicInstant.now() - began.1).seconds
            #expect(busy < 0.6, "\(busy) of a core")

            let metrics = try await scraper.ask("/metrics")
            #expect(metrics.contains("\nprocess_open_fds "))
            #expect(metrics.contains("\nprocess_max_fds \(limit)"))
            #expect(metrics.contains(#"healthd_http_connections_closed_total{reason="made_room"}"#))
            let lines = healthd.output.split(separator: "\n").filter { $0.contains("too many open") && $0.contains("descriptor") }
            #expect(lines.count == 1, "\(lines)")

            silent = []
            try await eventually("all is well again", within: .seconds(30)) { try await healthd.verdict("process") == "healthy" }
            #expect(healthd.output.contains("there is room for connections again"))
            #expect(silent.isEmpty)
            #expect(try await healthd.end() == 0)
        }

        @Test func `when the kernel has no descriptor left, accepting rests`() async throws {
            let healthd = try await Healthd.start(Self.settings)
            try await eventually("the process is well") { try await healthd.verdict("process") == "healthy" }
            let scraper = try RawClient(port: healthd.port)
            #expect(try await scraper.ask("/livez").hasPrefix("HTTP/1.1 200"))
            // Lowered while it runs: no budget knows of that.
            let open = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(healthd.pid)/fd").count
            _ = try await TestServers.run("prlimit", ["--pid", "\(healthd.pid)", "--nofile=\(open + 4):"])
            let silent = try Self.silent(20, port: healthd.port)
            let began = (try cpuSeconds(of: healthd.pid), MonotonicInstant.now())
            try await eventually("the verdict is critical") {
                let answer = try await scraper.ask("/api/health")
                let body = answer[(answer.firstRange(of: "\r\n\r\n")?.upperBound ?? answer.endIndex)...]
                return try JSON(String(body))["checks"]["process"][0]["state"].string == "critical"
            }
            try await steadily("it is there", for: .seconds(2), every: .milliseconds(200)) {
                try await scraper.ask("/metrics").contains(#"healthd_http_accept_failures_total{reason="process_limit"}"#)
            }
            let busy = (try cpuSeconds(of: healthd.pid) - began.0) / (MonotonicInstant.now() - began.1).seconds
            #expect(busy < 0.6, "\(busy) of a core")
            #expect(try await scraper.ask("/metrics").contains("\nprocess_open_fds "))
            let lines = healthd.output.split(separator: "\n").filter { $0.contains("too many open files") && $0.contains("no file descriptor") }
            #expect(lines.count == 1, "\(lines)")
            withExtendedLifetime(silent) {}
        }

        @Test func `clients that asked once and stay keep nobody out either`() async throws {
            let healthd = try await Healthd.start(Self.settings, prefix: ["prlimit", "--nofile=100:100"])
            var idle: [RawClient] = []
            for _ in 0..<120 {
                let client = try RawClient(port: healthd.port)
                #expect(try await client.ask("/livez").hasPrefix("HTTP/1.1 200"))
                idle.append(client)
            }
            #expect(try await healthd.web.get("/metrics").status == 200)
            withExtendedLifetime(idle) {}
        }

        @Test func `half a body is no way to keep others out`() async throws {
            let healthd = try await Healthd.start(Self.settings, prefix: ["prlimit", "--nofile=100:100"])
            let half = try (0..<120).map { _ in
                let client = try RawClient(port: healthd.port)
                try client.send("POST /api/workspaces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
                return client
            }
            #expect(try await healthd.web.get("/metrics").status == 200)
            withExtendedLifetime(half) {}
        }

        @Test func `half a header is closed after ten seconds`() async throws {
            let healthd = try await Healthd.start(Self.settings)
            let silent = try Self.silent(5, port: healthd.port)
            try await steadily("they have their time", for: .seconds(8)) { !silent[0].isClosed }
            try await eventually("their time is over") { silent.allSatisfy(\.isClosed) }
            #expect(try await healthd.web.get("/metrics").text.contains(#"healthd_http_connections_closed_total{reason="header_timeout"} 5"#))
        }

        @Test func `the soft limit is raised to the hard one`() async throws {
            let healthd = try await Healthd.start(Self.settings, prefix: ["prlimit", "--nofile=100:2000"])
            #expect(try await healthd.web.get("/metrics").text.contains("\nprocess_max_fds 2000"))
        }

        @Test func `too few descriptors to run at all are told, with what to do`() async throws {
            let folder = try TemporaryFolder("few")
            let file = try folder.write("state: \(folder.path)/state\n\(Self.settings)", to: "healthd.yaml")
            let program = try Program(["prlimit", "--nofile=40:40", Healthd.binary, "run", "--config", file], log: "\(folder.path)/log")
            #expect(try await program.ended() == 1)
            #expect(program.output.contains("this process may open 40 file descriptors, and needs 64; raise the limit"))
        }
    }

    /// Started by somebody who left little in order.
    @Suite struct StartTests {
        @Test(arguments: ["<&-", ">&-", "2>&-", "<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"])
        func `descriptors 0 to 2 are never something else`(closed: String) async throws {
            let healthd = try await Healthd.start(DescriptorTests.settings, prefix: ["sh", "-c", "exec \"$@\" \(closed)", "sh"])
            for (descriptor, sign) in [(0, "<&-"), (1, " >&-"), (2, "2>&-")] {
                let target = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(healthd.pid)/fd/\(descriptor)")
                if " \(closed)".contains(sign) {
                    #expect(target == "/dev/null", "\(descriptor) is \(target)")
                } else {
                    #expect(target == "/dev/null" || target.hasSuffix("/log"), "\(descriptor) is \(target)")
                }
            }
            #expect(try await healthd.end() == 0)
        }

        @Test(
            arguments: [
                ("HOME, PATH and everything else unset", ["env", "-i"]),
                ("a Turkish locale", ["env", "LC_ALL=tr_TR.UTF-8", "LANG=tr_TR.UTF-8"]),
                ("a time zone that is not there", ["env", "TZ=Mars/Olympus", "LC_ALL=C"]),
                ("a folder that is gone", ["sh", "-c", "d=$(mktemp -d) && cd \"$d\" && rmdir \"$d\" && umask 777 && exec \"$@\"", "sh"]),
                ("signals ignored", ["sh", "-c", "trap '' PIPE HUP; exec \"$@\"", "sh"]),
            ])
        func `it starts anywhere, and says the same`(_ name: String, prefix: [String]) async throws {
            let healthd = try await Healthd.start(DescriptorTests.settings, prefix: prefix)
            let metrics = try await healthd.web.get("/metrics")
            #expect(metrics.status == 200)
            #expect(metrics.text.contains(#"healthd_http_connections{state="idle"}"#))
            try await eventually("a look, with its time in UTC") { try await healthd.check("process")["time"].string?.hasSuffix("Z") == true }
            #expect(try await healthd.end() == 0)
        }

        @Test(
            arguments: [
                ("192.0.2.1:9798", "this machine has no such address"),
                ("nowhere.invalid:9798", "the name nowhere.invalid is not known here"),
            ])
        func `an address that cannot be had is named`(listen: String, reason: String) async throws {
            let refusal = try await Healthd.refusal("listen: \(listen)\n\(DescriptorTests.settings)")
            #expect(refusal.status == 1)
            #expect(refusal.output.contains("healthd: cannot listen on \(listen): \(reason)"), "\(refusal.output)")
        }

        @Test func `a port that is taken is named, and free again the moment its owner ends`() async throws {
            let first = try await Healthd.start(DescriptorTests.settings)
            let refusal = try await Healthd.refusal("listen: 127.0.0.1:\(first.port)\n\(DescriptorTests.settings)")
            #expect(refusal.status == 1)
            #expect(refusal.output.contains("healthd: cannot listen on 127.0.0.1:\(first.port): address already in use"), "\(refusal.output)")
            #expect(refusal.output.contains("ss -ltnp sport = :\(first.port)"))

            // Its connections are in TIME_WAIT, since it is the side that closes.
            let clients = try (0..<5).map { _ in try RawClient(port: first.port) }
            for client in clients { #expect(try await client.ask("/livez").hasPrefix("HTTP/1.1 200")) }
            #expect(try await first.end() == 0)
            let second = try await Healthd.start(DescriptorTests.settings, port: first.port)
            #expect(try await second.web.get("/livez").status == 200)
            withExtendedLifetime(clients) {}
        }
    }
}

/// User and system time of a process.
private func cpuSeconds(of pid: pid_t) throws -> Double {
    let text = try String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)
    let fields = text[(text.lastIndex(of: ")") ?? text.startIndex)...].split(separator: " ")
    guard fields.count > 12, let user = Double(fields[12]), let system = Double(fields[13]) else { return .nan }
    return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
}
