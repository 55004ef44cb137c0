import Blackbox
import Glibc
import TestServers
import Testing
import Vitals

/// A service manager's end of NOTIFY_SOCKET.
final class Manager: Sendable {
    /// As the environment names it.
    let address: String
    private let descriptor: Int32

    /// - Parameter path: of the socket; nil for a name in the abstract namespace.
    init(path: String? = nil) throws {
        let name = "healthd-test-\(UInt64.random(in: 0...UInt64.max))"
        address = path ?? "@\(name)"
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        let bytes = path.map { Array($0.utf8) + [0] } ?? ([0] + Array(name.utf8))
        try #require(Self.with(bytes) { bind(descriptor, $0, $1) } == 0)
    }

    deinit { close(descriptor) }

    private static func with<R>(_ bytes: [UInt8], _ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sa_family_t>.size + bytes.count)) }
        }
    }

    /// Puts notices of nobody's into the queue until it is full.
    func fill() {
        let sender = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        defer { close(sender) }
        let name = Array(address.utf8)
        let bytes = name.first == UInt8(ascii: "@") ? [0] + name.dropFirst() : name + [0]
        var filler = UInt8(ascii: "-")
        var sent = 0
        while sent < 10_000, Self.with(bytes, { sendto(sender, &filler, 1, 0, $0, $1) }) == 1 { sent += 1 }
    }

    func received() -> [String] {
        var notices: [String] = []
        var buffer = [UInt8](repeating: 0, count: 8_192)
        while case let count = recv(descriptor, &buffer, buffer.count, 0), count >= 0 {
            notices.append(String(decoding: buffer[..<count], as: UTF8.self))
        }
        return notices
    }
}

extension IntegrationTests {
    /// What a service manager hears, and what it cannot do to us by not listening.
    @Suite struct NoticeTests {
        private static let settings = "database: { url: \"postgres://app@127.0.0.1:1/app\" }"

        @Test(arguments: [true, false])
        func `a manager hears of the start, of the state, that we are alive, and of the end`(hasPath: Bool) async throws {
            let folder = try TemporaryFolder("notices")
            let manager = try Manager(path: hasPath ? "\(folder.path)/notify" : nil)
            let healthd = try await Healthd.start(
                Self.settings, environment: ["NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "2000000"])
            var notices: [String] = []
            try await eventually("three pings") {
                notices += manager.received()
                return notices.filter { $0 == "WATCHDOG=1" }.count >= 3
            }
            #expect(try await healthd.end() == 0)
            notices += manager.received()
            #expect(notices.first == "STATUS=starting")
            // Told when it is asked to end, and not when it has: the state may be told until then.
            #expect(notices.filter { $0 == "READY=1" || $0 == "STOPPING=1" } == ["READY=1", "STOPPING=1"])
            #expect(notices.contains { $0.hasPrefix("STATUS=") && $0.contains("postgres") }, "\(notices)")
            #expect(notices.allSatisfy { $0.utf8.count <= 4_096 && !$0.contains("\n") })
        }

        @Test func `a manager that does not listen keeps nobody, and hears the latest when it does`() async throws {
            let manager = try Manager()
            manager.fill()
            let healthd = try await Healthd.start(
                Self.settings, environment: ["NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "2000000"])
            for _ in 0..<3 {
                #expect(try await healthd.web.post("/-/reload", "", within: .seconds(5)).status == 200)
            }
            #expect(try await healthd.web.get("/metrics").status == 200)
            // What waits, or is overtaken by something newer, is no failure.
            #expect(!healthd.output.contains("a notice to systemd was not sent"), "\(healthd.output)")
            var notices: [String] = []
            try await eventually("it is ready, and pings") {
                notices += manager.received().filter { $0 != "-" }
                return notices.contains("READY=1") && notices.contains("WATCHDOG=1")
            }
            #expect(notices.filter { $0.hasPrefix("RELOADING=1") }.count == 1)
            #expect(try #require(notices.firstIndex { $0.hasPrefix("RELOADING=1") }) < #require(notices.firstIndex(of: "READY=1")))

            manager.fill()
            let began = MonotonicInstant.now()
            #expect(try await healthd.end() == 0)
            #expect(MonotonicInstant.now() - began < promise(.seconds(8), "it ends in time though its manager does not read"))
        }

        @Test func `a manager that is gone is counted once and forgotten`() async throws {
            let healthd = try await Healthd.start(Self.settings, environment: ["NOTIFY_SOCKET": "@healthd-test-nobody-\(getpid())"])
            try await eventually("it is noticed") { healthd.output.contains("a notice to systemd was not sent") }
            #expect(healthd.output.contains("reason=Connection refused"))
            #expect(try await healthd.end() == 0)
            #expect(healthd.output.occurrences(of: "a notice to systemd was not sent") == 1)
        }

        @Test(arguments: [
            (["WATCHDOG_USEC": "soon"], "WATCHDOG_USEC is \"soon\"; expected a number of microseconds above 0"),
            (["WATCHDOG_USEC": "0"], "WATCHDOG_USEC is \"0\"; expected a number of microseconds above 0"),
            (
                ["WATCHDOG_USEC": "18446744073709551615"],
                "WATCHDOG_USEC is \"18446744073709551615\"; expected a number of microseconds above 0"
            ),
            (["WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "me"], "WATCHDOG_PID is \"me\"; expected a process id"),
            (["NOTIFY_SOCKET": "run/notify"], "NOTIFY_SOCKET is \"run/notify\"; expected an absolute path or @name of at most 107 bytes"),
        ])
        func `what makes no sense stops the start`(environment: [String: String], problem: String) async throws {
            let (status, output) = try await Healthd.refusal(Self.settings, environment: environment)
            #expect(status == 78)
            #expect(output.contains(problem), "\(output)")
        }

        @Test func `a watchdog that is meant for another process is none`() async throws {
            let manager = try Manager()
            let healthd = try await Healthd.start(
                Self.settings, environment: ["NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"])
            #expect(try await !healthd.web.get("/metrics").text.contains("\nhealthd_watchdog_interval_seconds "))
            #expect(try await healthd.end() == 0)
            #expect(!manager.received().contains("WATCHDOG=1"))
        }
    }
}

extension String {
    /// How often a text occurs.
    fileprivate func occurrences(of text: String) -> Int { ranges(of: text).count }
}
