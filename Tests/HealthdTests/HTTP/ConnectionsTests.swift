import Dispatch
import Hummingbird
import Logging
import NIOCore
import NIOPosix
import Probes
import TestServers
import Testing
import Vitals

@testable import healthd

/// A real listener, clients that hold their connection, and time that the test moves.
@Suite struct `HTTP connections` {
    /// Runs a server with room for few connections for as long as `body` takes.
    static func serve(connections budget: Int, _ body: @Sendable (Int, Connections, ManualTime) async throws -> Void) async throws {
        let time = ManualTime()
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let needs = DescriptorBudget.Needs(pool: 0, receivers: 0, cores: 0)
        let connections = Connections(
            DescriptorBudget(limit: needs.sum + budget, open: 0, needs: needs), time: time, logger: logger)
        var routes = Routes(statistics: HTTPStatistics(), time: time, logger: logger)
        routes.on(.get, "/hello", as: "hello") { _, _ in .text("hello") }
        // More than the kernel keeps for a client that does not read.
        let large = String(repeating: "x", count: 8 << 20)
        routes.on(.get, "/large", as: "large") { _, _ in .text(large) }
        let bound = AsyncStream.makeStream(of: Int.self)
        let application = Application(
            router: routes.finished(), server: .watched(by: connections), configuration: .init(address: .hostname("127.0.0.1", port: 0)),
            onServerRunning: { channel in
                try? await AcceptGate.install(on: channel, connections)
                bound.continuation.yield(channel.localAddress?.port ?? 0)
            }, logger: logger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await application.run() }
            var ports = bound.stream.makeAsyncIterator()
            let port = try #require(await ports.next())
            defer { group.cancelAll() }
            try await body(port, connections, time)
        }
    }

    @Test func `half a header is given ten seconds, an answered client more`() async throws {
        try await Self.serve(connections: 20) { port, connections, time in
            let half = try RawClient(port: port)
            try half.sendHalfAHeader()
            let idle = try RawClient(port: port)
            #expect(try await idle.ask("/hello").hasPrefix("HTTP/1.1 200"))
            try await until("both are known") { connections.snapshot().phases == [.header: 1, .idle: 1, .body: 0, .answering: 0] }
            time.advance(by: .seconds(9))
            connections.sweep()
            #expect(connections.snapshot().count == 2)
            time.advance(by: .seconds(1))
            connections.sweep()
            try await until("half a header is closed") { half.isClosed }
            #expect(try await idle.ask("/hello").hasPrefix("HTTP/1.1 200"))
            // A client has its answer a moment before the server counts it as idle.
            try await until("it is idle again") { connections.snapshot().phases[.idle] == 1 }
            time.advance(by: .seconds(75))
            connections.sweep()
            try await until("the idle one is closed") { idle.isClosed }
            let ended = connections.snapshot().ended
            #expect(ended[.headerTimeout] == 1)
            #expect(ended[.idleTimeout] == 1)
        }
    }

    @Test func `silent clients make room`() async throws {
        try await Self.serve(connections: 20) { port, connections, time in
            let first = try RawClient(port: port)
            #expect(try await first.ask("/hello").hasPrefix("HTTP/1.1 200"))
            var silent: [RawClient] = []
            for _ in 0..<60 {
                time.advance(by: .milliseconds(1))
                let client = try RawClient(port: port)
                try client.sendHalfAHeader()
                silent.append(client)
            }
            let newcomer = try RawClient(port: port)
            #expect(try await newcomer.ask("/hello").hasPrefix("HTTP/1.1 200"))
            #expect(try await first.ask("/hello").hasPrefix("HTTP/1.1 200"))
            let snapshot = connections.snapshot()
            #expect(snapshot.count == 20)
            #expect(snapshot.ended[.madeRoom] == 42)
            #expect(snapshot.isShortOfDescriptors)
            withExtendedLifetime(silent) {}
        }
    }

    @Test func `half a header behind a request is given ten seconds, a line end as long as nothing`() async throws {
        try await Self.serve(connections: 20) { port, connections, time in
            let half = try RawClient(port: port)
            try half.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n")
            // Before it, the first request's own header could be what is seen.
            #expect(try await half.answer().hasPrefix("HTTP/1.1 200"))
            let lineEnd = try RawClient(port: port)
            #expect(try await lineEnd.ask("/hello").hasPrefix("HTTP/1.1 200"))
            try lineEnd.send("\r\n")
            try await until("both are known") { connections.snapshot().phases == [.header: 1, .idle: 1, .body: 0, .answering: 0] }
            time.advance(by: .seconds(10))
            connections.sweep()
            try await until("half a header is closed") { connections.snapshot().count == 1 }
            #expect(connections.snapshot().ended[.headerTimeout] == 1)
            #expect(try await lineEnd.ask("/hello").hasPrefix("HTTP/1.1 200"))
            withExtendedLifetime(half) {}
        }
    }

    @Test func `clients that come while the server ends do not end the program`() async throws {
        for _ in 0..<20 {
            try await Self.serve(connections: 200) { port, _, _ in
                let first = try RawClient(port: port)
                #expect(try await first.ask("/hello").hasPrefix("HTTP/1.1 200"))
                // On their way when `serve` ends the server.
                let late = try (0..<50).map { _ in try RawClient(port: port) }
                withExtendedLifetime(late) {}
            }
        }
    }

    @Test func `each event loop is seen to turn, and one that hangs is seen`() async throws {
        let time = ManualTime()
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        let loops = HTTPLoops(group, time: time)
        time.advance(by: .seconds(5))
        loops.ask()
        try await until("both have turned") { loops.lastTurned == time.now() }
        let turned = time.now()

        let gate = DispatchSemaphore(value: 0)
        group.next().execute { gate.wait() }
        time.advance(by: .seconds(5))
        for _ in 0..<3 { loops.ask() }
        #expect(loops.lastTurned == turned)
        gate.signal()
        try await until("it goes on") { loops.lastTurned == time.now() }
        try await group.shutdownGracefully()
    }

    @Test(arguments: [(5, true, 0.5), (10, true, 1), (10, false, 0.5)])
    func `as many connections as descriptors allow is as bad as no descriptor left`(count: Int, isShort: Bool, expected: Double) async throws {
        var process = ProcessReading()
        (process.openFDs, process.maxFDs) = (50, 100)
        let reading = process
        let connections = Connections.Snapshot(maximum: 10, isShortOfDescriptors: isShort, phases: [.header: count])
        let probe = ProcessWatch.probe(
            interval: .seconds(1), timeout: .seconds(1), reading: { reading }, connections: { connections })
        #expect(try await probe.measure().values["descriptors"] == expected)
    }
}
