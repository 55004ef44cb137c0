import Glibc
import Logging
import TestServers
import Testing
import Vitals

@testable import healthd

/// A manager's end of the notify socket, in the abstract namespace so that no file is left.
private final class FakeManager {
    let name = "healthd-test-\(UInt64.random(in: 0...UInt64.max))"
    let descriptor: Int32

    init(queue: Int32? = nil) throws {
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = [0] + Array(name.utf8)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + bytes.count)
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, length) }
        }
        try #require(result == 0)
    }

    deinit { close(descriptor) }

    func received() -> [String] {
        var notices: [String] = []
        var buffer = [UInt8](repeating: 0, count: 8_192)
        while case let count = recv(descriptor, &buffer, buffer.count, 0), count >= 0 {
            notices.append(String(decoding: buffer[..<count], as: UTF8.self))
        }
        return notices
    }

    func environment(watchdog: Duration? = nil) throws -> SystemdEnvironment {
        var variables = ["NOTIFY_SOCKET": "@\(name)"]
        if let watchdog { variables["WATCHDOG_USEC"] = "\(watchdog.nanoseconds / 1_000)" }
        return try SystemdEnvironment(variables, processID: 1)
    }
}

@Suite struct `Systemd's environment` {
    @Test(
        arguments: [
            ([:], nil, nil),
            (["NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "20000000"], .path("/run/n"), .seconds(20)),
            (["NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "500000", "WATCHDOG_PID": "7"], .abstract("n"), .milliseconds(500)),
            (["NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "500000", "WATCHDOG_PID": "8"], .abstract("n"), nil),
            (["WATCHDOG_USEC": "500000"], nil, nil),
            (["NOTIFY_SOCKET": ""], nil, nil),
        ] as [([String: String], SystemdEnvironment.NotifyAddress?, Duration?)])
    func `is read as systemd means it`(variables: [String: String], address: SystemdEnvironment.NotifyAddress?, watchdog: Duration?)
        throws
    {
        let environment = try SystemdEnvironment(variables, processID: 7)
        #expect(environment.notifyAddress == address)
        #expect(environment.watchdog == watchdog)
    }

    @Test(arguments: [
        (["NOTIFY_SOCKET": "n"], "NOTIFY_SOCKET is \"n\"; expected an absolute path or @name of at most 107 bytes"),
        (["NOTIFY_SOCKET": "@"], "NOTIFY_SOCKET is \"@\"; expected an absolute path or @name of at most 107 bytes"),
        (["WATCHDOG_USEC": "soon"], "WATCHDOG_USEC is \"soon\"; expected a number of microseconds above 0"),
        (["WATCHDOG_USEC": "0"], "WATCHDOG_USEC is \"0\"; expected a number of microseconds above 0"),
        (
            ["WATCHDOG_USEC": "18446744073709551615"],
            "WATCHDOG_USEC is \"18446744073709551615\"; expected a number of microseconds above 0"
        ),
        (["WATCHDOG_PID": "me"], "WATCHDOG_PID is \"me\"; expected a process id"),
    ])
    func `stops the start when it makes no sense`(variables: [String: String], problem: String) {
        let error = #expect(throws: ConfigurationProblems.self) { try SystemdEnvironment(variables, processID: 7) }
        #expect(error?.description == problem)
    }
}

@Suite struct `Systemd notifier` {
    @Test func `does nothing when nobody listens`() async {
        let notifier = SystemdNotifier(.none, time: ManualTime(), logger: .quiet)
        notifier.ready()
        notifier.status("x")
        notifier.watchdog()
        #expect(!notifier.isActive && notifier.failures.value == 0)
    }

    @Test func `sends each notice in its own datagram`() throws {
        let manager = try FakeManager()
        let time = ManualTime(now: MonotonicInstant(nanoseconds: 5_000_000_000))
        let notifier = SystemdNotifier(try manager.environment(), time: time, logger: .quiet)
        notifier.ready()
        notifier.reloading()
        notifier.extendTimeout(by: .seconds(3))
        notifier.watchdog()
        notifier.triggerWatchdog()
        notifier.stopping()
        #expect(
            manager.received() == [
                "READY=1", "RELOADING=1\nMONOTONIC_USEC=5000000", "EXTEND_TIMEOUT_USEC=3000000", "WATCHDOG=1", "WATCHDOG=trigger",
                "STOPPING=1",
            ])
    }

    @Test(arguments: [
        ("two\nlines\r\u{0}\u{7F}", "STATUS=two lines   "), ("a\u{85}b\u{2028}c", "STATUS=a b c"), ("grün", "STATUS=grün"),
        (String(repeating: "é", count: 5_000), "STATUS=" + String(repeating: "é", count: 1_998) + "…"),
    ])
    func `makes any text one line that fits`(text: String, notice: String) throws {
        let manager = try FakeManager()
        let notifier = SystemdNotifier(try manager.environment(), time: ManualTime(), logger: .quiet)
        notifier.status(text)
        #expect(manager.received() == [notice])
    }

    @Test func `counts what nobody takes and never waits`() throws {
        let environment = try SystemdEnvironment(
            ["NOTIFY_SOCKET": "@healthd-test-nobody-\(UInt64.random(in: 0...UInt64.max))"], processID: 1)
        let notifier = SystemdNotifier(environment, time: ManualTime(), logger: .quiet)
        notifier.ready()
        notifier.watchdog()
        #expect(notifier.failures.value == 2)
    }

    @Test func `keeps READY for later when the manager's queue is full, and pings not at all`() async throws {
        let manager = try FakeManager()
        let time = ManualTime()
        let notifier = SystemdNotifier(try manager.environment(), time: time, logger: .quiet)
        try await until("the queue is full") {
            notifier.watchdog()
            return notifier.failures.value > 0
        }
        notifier.reloading()
        notifier.ready()
        #expect(notifier.failures.value == 1)
        #expect(manager.received().allSatisfy { $0 == "WATCHDOG=1" })
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await notifier.run(parts: { [] }) }
            try await time.untilAsleep()
            group.cancelAll()
        }
        #expect(manager.received().map { $0.prefix(9) } == ["RELOADING", "READY=1"])
    }

    @Test func `pings while parts make progress, then names the one that stalls and asks for the restart`() async throws {
        let manager = try FakeManager()
        let time = ManualTime()
        let notifier = SystemdNotifier(try manager.environment(watchdog: .seconds(4)), time: time, logger: .quiet)
        let start = time.now()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                await notifier.run(parts: {
                    [
                        .init(name: "scheduler", lastProgress: time.now(), cycle: .seconds(1)),
                        .init(name: "event loop", lastProgress: min(time.now(), start + .seconds(2)), cycle: .seconds(1)),
                    ]
                })
            }
            for _ in 0..<8 {
                try await time.untilAsleep()
                time.advance(by: .seconds(1))
            }
            try await time.untilAsleep()
            group.cancelAll()
        }
        let notices = manager.received()
        #expect(notices.prefix(5) == ["WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"])
        #expect(notices.dropFirst(5).first == "STATUS=stalled: event loop has made no progress for 3 s (limit 2 s)")
        #expect(notices.filter { $0 == "WATCHDOG=trigger" }.count == 2)
        #expect(notices.filter { $0 == "WATCHDOG=1" }.count == 5)
    }
}

@Suite struct `Status throttle` {
    @Test func `sends on change, once a second, the latest last`() {
        func at(_ milliseconds: Int64) -> MonotonicInstant { MonotonicInstant(nanoseconds: milliseconds * 1_000_000) }
        var throttle = StatusThrottle()
        #expect(throttle.offer("a", now: at(0)) == "a")
        #expect(throttle.offer("b", now: at(100)) == nil)
        #expect(throttle.offer("c", now: at(200)) == nil)
        #expect(throttle.due(now: at(999)) == nil)
        #expect(throttle.due(now: at(1_000)) == "c")
        #expect(throttle.offer("c", now: at(5_000)) == nil)
        #expect(throttle.offer("d", now: at(5_000)) == "d")
        // Back to what was sent last: there is nothing left to say.
        #expect(throttle.offer("e", now: at(5_100)) == nil)
        #expect(throttle.offer("d", now: at(5_200)) == nil)
        #expect(throttle.due(now: at(9_000)) == nil)
    }
}
