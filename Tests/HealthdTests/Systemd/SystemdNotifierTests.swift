import Dispatch
import Glibc
import Logging
import Synchronization
import TestServers
import Testing
import Vitals

@testable import healthd

/// A manager that keeps what it is told, may stop reading, and may be gone.
private final class FakeManager: Sendable {
    private let notices = Mutex<[String]>([])
    private let isReading = Mutex(true)
    private let gate = DispatchSemaphore(value: 0)
    private let answer: Mutex<Int32?>

    /// - Parameter answer: the number of the error that each notice meets.
    init(answer: Int32? = nil) { self.answer = Mutex(answer) }

    func answer(with number: Int32?) { answer.withLock { $0 = number } }

    func take(_ notice: String) -> Int32? {
        if !isReading.withLock({ $0 }) {
            gate.wait()
            gate.signal()
        }
        notices.withLock { $0.append(notice) }
        return answer.withLock { $0 }
    }

    func stopReading() { isReading.withLock { $0 = false } }

    func readOn() {
        isReading.withLock { $0 = true }
        gate.signal()
    }

    var received: [String] { notices.withLock { $0 } }

    func notifier(watchdog: Duration? = nil, time: any TimeSource, logger: Logger = .quiet) throws -> SystemdNotifier {
        let environment = try SystemdEnvironment(["NOTIFY_SOCKET": "@n"], watchdog: watchdog.map { .within($0) } ?? .off)
        return SystemdNotifier(environment, time: time, logger: logger, send: { self.take($0) })
    }
}

@Suite struct `Systemd's environment` {
    @Test(
        arguments: [
            ([:], .off, false, nil),
            (["NOTIFY_SOCKET": "/run/n"], .within(.seconds(20)), true, .seconds(20)),
            (["NOTIFY_SOCKET": "@n"], .within(.milliseconds(500)), true, .milliseconds(500)),
            (["NOTIFY_SOCKET": "@n"], .off, true, nil),
            // A watchdog that nobody would hear of is none.
            ([:], .within(.seconds(1)), false, nil),
            (["NOTIFY_SOCKET": ""], .off, false, nil),
        ] as [([String: String], Libsystemd.Watchdog, Bool, Duration?)])
    func `is read as systemd means it`(variables: [String: String], answer: Libsystemd.Watchdog, isNotified: Bool, watchdog: Duration?)
        throws
    {
        let environment = try SystemdEnvironment(variables, watchdog: answer)
        #expect(environment.isNotified == isNotified)
        #expect(environment.watchdog == watchdog)
    }

    @Test(
        arguments: [
            (["NOTIFY_SOCKET": "n"], .off, "NOTIFY_SOCKET is \"n\"; expected an absolute path or @name of at most 107 bytes"),
            (["NOTIFY_SOCKET": "@"], .off, "NOTIFY_SOCKET is \"@\"; expected an absolute path or @name of at most 107 bytes"),
            (["WATCHDOG_USEC": "soon"], .senseless, "WATCHDOG_USEC is \"soon\"; expected a number of microseconds above 0"),
            (["WATCHDOG_USEC": "0"], .senseless, "WATCHDOG_USEC is \"0\"; expected a number of microseconds above 0"),
            (
                ["WATCHDOG_USEC": "18446744073709551615"], .senseless,
                "WATCHDOG_USEC is \"18446744073709551615\"; expected a number of microseconds above 0"
            ),
            (["WATCHDOG_USEC": "1", "WATCHDOG_PID": "me"], .senseless, "WATCHDOG_PID is \"me\"; expected a process id"),
        ] as [([String: String], Libsystemd.Watchdog, String)])
    func `stops the start when it makes no sense`(variables: [String: String], answer: Libsystemd.Watchdog, problem: String) {
        let error = #expect(throws: ConfigurationProblems.self) { try SystemdEnvironment(variables, watchdog: answer) }
        #expect(error?.description == problem)
    }
}

@Suite struct `Systemd notifier` {
    @Test func `does nothing when nobody listens`() async {
        let notifier = SystemdNotifier(.none, time: ManualTime(), logger: .quiet)
        notifier.ready()
        notifier.status("x")
        notifier.watchdog()
        notifier.flush(within: .zero)
        #expect(!notifier.isActive && notifier.failures == 0)
    }

    @Test func `tells of no reload before the start is over, for its end would be told as the start's`() throws {
        let manager = FakeManager()
        let notifier = try manager.notifier(time: ManualTime(now: MonotonicInstant(nanoseconds: 1_000)))
        // Of what waits only the latest of a kind is sent.
        for tell in [notifier.reloading, notifier.reloaded, notifier.ready, notifier.reloading, notifier.reloaded] {
            tell()
            notifier.flush(within: .seconds(10))
        }
        #expect(manager.received == ["READY=1", "RELOADING=1\nMONOTONIC_USEC=1", "READY=1"])
    }

    @Test func `once it stops it is not ready again, whatever reload ends then`() throws {
        let manager = FakeManager()
        let notifier = try manager.notifier(time: ManualTime(now: MonotonicInstant(nanoseconds: 1_000)))
        for tell in [notifier.ready, notifier.reloading, notifier.stopping, notifier.reloaded, notifier.reloading, notifier.ready] {
            tell()
            notifier.flush(within: .seconds(10))
        }
        #expect(manager.received == ["READY=1", "RELOADING=1\nMONOTONIC_USEC=1", "STOPPING=1"])
    }

    @Test func `sends each notice in its own datagram`() throws {
        let manager = FakeManager()
        let notifier = try manager.notifier(time: ManualTime(now: MonotonicInstant(nanoseconds: 5_000_000_000)))
        notifier.ready()
        notifier.reloading()
        notifier.watchdog()
        notifier.triggerWatchdog()
        notifier.stopping()
        notifier.stopping()
        notifier.flush(within: .seconds(10))
        #expect(
            manager.received == [
                "READY=1", "RELOADING=1\nMONOTONIC_USEC=5000000", "WATCHDOG=1", "WATCHDOG=trigger", "STOPPING=1",
            ])
        #expect(notifier.pings == 1 && notifier.failures == 0)
    }

    @Test(arguments: [
        ("two\nlines\r\u{0}\u{7F}", "STATUS=two lines   "), ("a\u{85}b\u{2028}c", "STATUS=a b c"), ("grün", "STATUS=grün"),
        (String(repeating: "é", count: 5_000), "STATUS=" + String(repeating: "é", count: 1_998) + "…"),
    ])
    func `makes any text one line that fits`(text: String, notice: String) throws {
        let manager = FakeManager()
        let notifier = try manager.notifier(time: ManualTime())
        notifier.status(text)
        notifier.flush(within: .seconds(10))
        #expect(manager.received == [notice])
    }

    @Test func `counts what nobody takes`() throws {
        let manager = FakeManager(answer: ECONNREFUSED)
        let notifier = try manager.notifier(time: ManualTime())
        notifier.ready()
        notifier.watchdog()
        notifier.flush(within: .seconds(10))
        #expect(notifier.failures == 2 && notifier.pings == 0)
    }

    @Test func `logs when its notices begin to fail and when that is over`() throws {
        let manager = FakeManager()
        let log = LogLines()
        let notifier = try manager.notifier(time: ManualTime(), logger: log.logger)
        func ping(_ count: Int, answer: Int32?) {
            manager.answer(with: answer)
            for _ in 0..<count {
                notifier.watchdog()
                notifier.flush(within: .seconds(10))
            }
        }
        ping(1, answer: nil)
        ping(3, answer: ECONNREFUSED)
        ping(2, answer: nil)
        ping(1, answer: ENOENT)
        #expect(
            log.all == [
                "warning a notice to systemd was not sent; until one is, further ones are only counted reason=Connection refused",
                "warning notices to systemd are sent again failed=3",
                "warning a notice to systemd was not sent; until one is, further ones are only counted reason=No such file or directory",
            ])
        #expect(notifier.failures == 4 && notifier.pings == 3)
    }

    @Test func `takes a ping that a newer one overtook for no failure`() throws {
        let manager = FakeManager()
        let log = LogLines()
        let notifier = try manager.notifier(time: ManualTime(), logger: log.logger)
        manager.stopReading()
        notifier.ready()
        for _ in 0..<5 { notifier.watchdog() }
        manager.readOn()
        notifier.flush(within: .seconds(10))
        #expect(manager.received.last == "WATCHDOG=1" && notifier.failures == 0 && log.all == [])
    }

    @Test func `keeps what changes the unit's state for a manager that does not read, and pings not at all`() async throws {
        let manager = FakeManager()
        let time = ManualTime()
        let notifier = try manager.notifier(watchdog: .seconds(4), time: time)
        manager.stopReading()
        notifier.status("starting")
        // The sending thread is at the first notice, and waits.
        notifier.ready()
        notifier.watchdog()
        notifier.reloading()
        notifier.reloaded()
        let (began, patience) = (MonotonicInstant.now(), Duration.milliseconds(20))
        notifier.flush(within: patience)
        #expect(MonotonicInstant.now() - began >= patience, "there was nothing to wait for")
        time.advance(by: .seconds(10))
        notifier.stopping()
        manager.readOn()
        notifier.flush(within: .seconds(10))
        #expect(manager.received.map { $0.prefix(9) }.suffix(3) == ["RELOADING", "READY=1", "STOPPING="])
        #expect(!manager.received.contains("WATCHDOG=1"))
    }

    @Test func `pings while parts make progress, then names the one that stalls and asks for the restart`() async throws {
        let manager = FakeManager()
        let time = ManualTime()
        let notifier = try manager.notifier(watchdog: .seconds(4), time: time)
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
                notifier.flush(within: .seconds(10))
                time.advance(by: .seconds(1))
            }
            try await time.untilAsleep()
            notifier.flush(within: .seconds(10))
            group.cancelAll()
        }
        let notices = manager.received
        #expect(notices.prefix(5) == ["WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"])
        #expect(notices.dropFirst(5).first == "STATUS=stalled: event loop has made no progress for 3 s (limit 2 s)")
        #expect(notices.filter { $0 == "WATCHDOG=trigger" }.count == 2)
        #expect(notices.filter { $0 == "WATCHDOG=1" }.count == 5)
        #expect(notifier.pings == 5)
    }

    @Test func `says no longer that a part is stalled when it makes progress again`() async throws {
        let manager = FakeManager()
        let log = LogLines()
        let time = ManualTime()
        let notifier = try manager.notifier(watchdog: .seconds(4), time: time, logger: log.logger)
        let (stands, goesOn) = (time.now() + .seconds(1), time.now() + .seconds(5))
        notifier.status("Healthy")
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                await notifier.run(parts: {
                    let now = time.now()
                    return [.init(name: "event loop", lastProgress: now < goesOn ? min(now, stands) : now, cycle: .seconds(1))]
                })
            }
            for _ in 0..<7 {
                try await time.untilAsleep()
                notifier.flush(within: .seconds(10))
                time.advance(by: .seconds(1))
            }
            try await time.untilAsleep()
            notifier.flush(within: .seconds(10))
            group.cancelAll()
        }
        #expect(
            manager.received.filter { $0.hasPrefix("STATUS=") }
                == ["STATUS=Healthy", "STATUS=stalled: event loop has made no progress for 3 s (limit 2 s); Healthy", "STATUS=Healthy"])
        #expect(!manager.received.contains("WATCHDOG=trigger"))
        #expect(
            log.all == [
                "error watchdog ping withheld: a part is stalled age=3 s limit=2 s part=event loop",
                "warning the stalled part makes progress again part=event loop",
            ])
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

    @Test func `sends again what could not be sent, unless there is news`() {
        func at(_ milliseconds: Int64) -> MonotonicInstant { MonotonicInstant(nanoseconds: milliseconds * 1_000_000) }
        var throttle = StatusThrottle()
        #expect(throttle.offer("a", now: at(0)) == "a")
        throttle.giveBack("a")
        #expect(throttle.due(now: at(100)) == "a")
        #expect(throttle.offer("b", now: at(200)) == nil)
        throttle.giveBack("a")
        #expect(throttle.due(now: at(300)) == "b")
    }
}
