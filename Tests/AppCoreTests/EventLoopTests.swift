import Glibc
import Synchronization
import TestServers
import Testing
import Vitals

@testable import AppCore

/// The threads of one loop: who watches what, where work goes on, and how one that hangs is seen.
struct `Event loop` {
    @Test func `sockets are spread over the threads, and each stays with its own`() async throws {
        let loop = try EventLoop(threads: 2)
        defer { loop.shutdown() }
        let sockets = try (1...4).map { _ in try Socket(loop) }
        for round in 1...3 {
            for socket in sockets { socket.poke() }
            try await until("round \(round)") { sockets.allSatisfy { $0.seenOn.count == round } }
        }
        #expect(sockets.allSatisfy { Set($0.seenOn).count == 1 }, "a socket changed its thread")
        let perThread = Dictionary(grouping: sockets) { $0.seenOn[0] }
        #expect(perThread.values.map(\.count) == [2, 2])

        // The places of those that went are taken by the next.
        let gone = try #require(perThread.values.first)
        for socket in gone { socket.leave() }
        let next = try (1...2).map { _ in try Socket(loop) }
        for socket in next { socket.poke() }
        try await until("the new ones") { next.allSatisfy { !$0.seenOn.isEmpty } }
        #expect(Set(next.map { $0.seenOn[0] }) == [gone[0].seenOn[0]])
    }

    @Test func `a task that prefers the loop goes on where it was resumed`() async throws {
        let loop = try EventLoop(threads: 2)
        defer { loop.shutdown() }
        let sockets = try (1...2).map { _ in try Socket(loop) }
        for socket in sockets {
            let thread = await withTaskExecutorPreference(loop) {
                await socket.answer()
                return Self.thread()
            }
            #expect([thread] == socket.seenOn)
        }
        #expect(Set(sockets.flatMap(\.seenOn)).count == 2)
    }

    @Test func `one thread that hangs is seen, and the other goes on`() async throws {
        let loop = try EventLoop(threads: 2)
        defer { loop.shutdown() }
        let gate = try Gate()
        let (stuck, free) = (try Socket(loop) { gate.wait() }, try Socket(loop))
        stuck.poke()
        try await until("it hangs") { gate.isReached }
        let hanging = MonotonicInstant.now()
        for round in 1...3 {
            free.poke()
            loop.turn()
            try await until("round \(round) of the other") { free.seenOn.count == round }
            #expect(loop.lastTurned < hanging)
        }
        gate.open()
        try await until("both turn") {
            loop.turn()
            return loop.lastTurned > hanging
        }
    }

    @Test func `an answer of PostgreSQL that is there in time counts, though its thread is late`() async throws {
        let server = try await TestPostgres.start()
        let loop = try EventLoop(threads: 2)
        defer { loop.shutdown() }
        try await besideLateThread(of: loop) {
            try await PostgresConnector(
                endpoint: server.endpoint, applicationName: "test", loop: loop, calls: BlockingCalls(limit: 8, loop: loop)
            ).connect(until: Deadline(.now() + .seconds(10)))
        } ask: { connection, deadline in
            let rows = try await connection.query("SELECT 1 AS n", until: deadline)
            #expect(try rows.first?.int("n") == 1)
            #expect(connection.condition == .reusable)
            connection.close()
        }
    }

    @Test func `an answer of Redis that is there in time counts, though its thread is late`() async throws {
        let server = try await TestRedis.start()
        let loop = try EventLoop(threads: 2)
        defer { loop.shutdown() }
        try await besideLateThread(of: loop) {
            let link = try RedisLink(connectingTo: .unix(path: server.socketPath), loop: loop)
            _ = try await link.command(["PING"], until: Deadline(.now() + .seconds(10)))
            return link
        } ask: { link, deadline in
            let reply = try await link.command(["ECHO", "a"], until: deadline)
            #expect(reply == .string([97]))
            #expect(link.failure == nil)
            link.close()
        }
    }

    /// Asks for something while the thread that would receive the answer hangs. The timers' thread goes on.
    private func besideLateThread<Connection: Sendable>(
        of loop: EventLoop, connect: () async throws -> Connection, ask: (Connection, Deadline) async throws -> Void
    ) async throws {
        // Each to the thread that has fewer: the first, the second, the first, the second.
        let timers = try Socket(loop)
        let connection = try await connect()
        let third = try Socket(loop)
        let gate = try Gate()
        let late = try Socket(loop) { gate.wait() }
        late.poke()
        try await until("it hangs") { gate.isReached }
        defer { gate.open() }
        for socket in [timers, third] {
            socket.poke()
            try await until("the timers' thread goes on") { !socket.seenOn.isEmpty }
        }
        let deadline = Deadline(.now() + .milliseconds(200))
        try await ask(connection, deadline)
        #expect(deadline.hasPassed(at: .now()), "its thread was not late: the test shows nothing")
    }

    @Test func `a number that another has taken over stays with it`() async throws {
        let loop = try EventLoop(threads: 2)
        defer { loop.shutdown() }
        let (socket, heir) = (try Socket(loop), try Socket(loop))
        // As when libpq closes one socket and opens another under its number.
        loop.register(socket.watched, .readable, handler: heir)
        loop.deregister(socket.watched, handler: socket)
        socket.poke()
        try await until("the heir hears of it") { !heir.seenOn.isEmpty }
        #expect(socket.seenOn.isEmpty)
        loop.deregister(socket.watched, handler: heir)
    }

    @Test(arguments: [0, 1, 3]) func `there is a thread in any case, and nothing is held after the end`(threads: Int) async throws {
        let loop = try EventLoop(threads: threads)
        weak var held: Socket?
        do {
            let socket = try Socket(loop)
            held = socket
            socket.poke()
            try await until("it is heard") { !socket.seenOn.isEmpty }
            loop.schedule(at: .now() + .seconds(3_600)) { socket.poke() }
        }
        #expect(held != nil)
        loop.shutdown()
        try await until("it is let go") { held == nil }
    }

    @Test func `a call that hangs costs its caller its deadline, and keeps its place until it returns`() async throws {
        let loop = try EventLoop(threads: 1)
        defer { loop.shutdown() }
        let calls = BlockingCalls(limit: 1, loop: loop)
        let later = Deadline(.now() + .seconds(600))
        for round in 1...3 {
            let answer = try await calls.run(name: "test", until: later) { round }
            #expect(answer == round, "a call that has returned has left its place")
        }
        let gate = try Gate()
        await #expect { try await calls.run(name: "test", until: Deadline(.now() + .milliseconds(1))) { gate.wait() } } throws: {
            "\($0)" == "deadlineExceeded"
        }
        await #expect { _ = try await calls.run(name: "test", until: later) { 4 } } throws: { "\($0)" == "tooMany(limit: 1)" }
        gate.open()
        try await until("its place is free") { (try? await calls.run(name: "test", until: later) { 5 }) == 5 }
    }

    private static func thread() -> UInt { UInt(pthread_self()) }

    /// One end is watched by the loop, the other is ours.
    private final class Socket: EventHandler {
        private struct State {
            var seenOn: [UInt] = []
            var continuation: CheckedContinuation<Void, Never>?
        }

        let watched: Int32
        private let ours: Int32
        private let loop: EventLoop
        private let whenReady: @Sendable () -> Void
        private let state = Mutex(State())

        init(_ loop: EventLoop, whenReady: @escaping @Sendable () -> Void = {}) throws {
            var ends: [Int32] = [-1, -1]
            guard makePipe(&ends) else { throw TestServerError("no socket pair, errno \(errno)") }
            (watched, ours, self.loop, self.whenReady) = (ends[0], ends[1], loop, whenReady)
            loop.register(watched, .readable, handler: self)
        }

        deinit {
            close(watched)
            close(ours)
        }

        /// The threads on which it was told, in order.
        var seenOn: [UInt] { state.withLock { $0.seenOn } }

        func ready(_ events: EventLoop.Events) {
            var byte: UInt8 = 0
            recv(watched, &byte, 1, Int32(MSG_DONTWAIT))
            whenReady()
            let continuation = state.withLock { state in
                state.seenOn.append(thread())
                return state.continuation.take()
            }
            continuation?.resume()
        }

        func poke() {
            write(ours, "x", 1)
        }

        /// Asks once its caller sleeps, and returns when it has been told.
        func answer() async {
            await withCheckedContinuation { continuation in
                state.withLock { $0.continuation = continuation }
                loop.atTurnEnd { [self] in poke() }
            }
        }

        func leave() {
            loop.deregister(watched, handler: self)
        }
    }

    /// Holds up the thread that comes to it.
    private final class Gate: Sendable {
        private let ends: [Int32]
        private let reached = Atomic(false)

        init() throws {
            var ends: [Int32] = [-1, -1]
            guard makePipe(&ends) else { throw TestServerError("no socket pair, errno \(errno)") }
            self.ends = ends
        }

        deinit {
            for end in ends { close(end) }
        }

        var isReached: Bool { reached.load(ordering: .acquiring) }

        func wait() {
            reached.store(true, ordering: .releasing)
            var byte: UInt8 = 0
            recv(ends[0], &byte, 1, 0)
        }

        func open() {
            write(ends[1], "x", 1)
        }
    }
}
