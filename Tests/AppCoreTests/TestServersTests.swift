import Glibc
import Synchronization
import Testing
import Vitals

@testable import TestServers

struct `Test servers` {
    @Test func `a private PostgreSQL answers, stops, starts again and keeps its rows`() async throws {
        let server = try await TestPostgres.start(tcp: true)
        try await server.superuserScript("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
        try await server.stop()
        await #expect(throws: TestServerError.self) { try await server.superuserScript("SELECT 1") }
        try await server.startAgain()
        #expect(try await server.superuserScript("SELECT n FROM kept") == "7")
        server.freeze()
        server.thaw()
        #expect(try await server.superuserScript("SELECT current_user") == "postgres")
        #expect(try await server.makeDatabase().contains("/test_1?"))
    }

    @Test func `a private Redis answers`() async throws {
        let server = try await TestRedis.start()
        #expect(try await server.command("PING") == "PONG")
        try await server.stop()
        try await server.startAgain()
        #expect(try await server.command("SET", "a", "1") == "OK")
    }

    /// A receiver that was to come back found a client's connection on its port.
    @Test func `a port is handed out once, and is none of those for outgoing connections`() throws {
        let ports = try (1...200).map { _ in try unusedPort() }
        // Where `net.ipv4.ip_local_port_range` begins unless a host is told otherwise.
        #expect(ports.allSatisfy { $0 < 32_768 })
        #expect(Set(ports).count == ports.count)
    }
}

struct `A reference` {
    private let start = MonotonicInstant(nanoseconds: 1_000_000_000)

    @Test func `stretches a bound by how long work took, and adds how late an answer was; in calm it is the bound`() {
        #expect(Reference().allows(.milliseconds(50)) == .milliseconds(50))
        var reference = Reference()
        reference.works = [
            Reference.Work(at: start, took: .milliseconds(6), ofItsOwn: .milliseconds(6)),
            Reference.Work(at: start + .seconds(1), took: .milliseconds(12), ofItsOwn: .milliseconds(6)),
        ]
        reference.turns = (0..<100).map { Reference.Turn(at: start + .milliseconds(20 * $0), lateness: $0 == 30 ? .milliseconds(7) : .milliseconds(1)) }
        #expect(reference.slowdown == 1.5)
        #expect(reference.allows(.milliseconds(50)) == .milliseconds(82))
        #expect(reference.allows(.milliseconds(50), share: 0.5) == .milliseconds(76))
        // A part of it knows nothing of the rest.
        #expect(reference[start..<start + .milliseconds(500)].allows(.milliseconds(50)) == .milliseconds(51))
        #expect(reference[start + .seconds(1)..<start + .seconds(2)].allows(.milliseconds(50)) == .milliseconds(101))
    }

    @Test func `sees that others want the cores`() async throws {
        let over = Flag()
        defer { over.raise() }
        for _ in 0..<(4 * max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))) {
            startThread { repeat {} while !over.isRaised }
        }
        let (_, reference) = try await beside { try await aWhile() }
        #expect(reference.slowdown > 1.3, "\(reference.text)")
    }

    @Test func `is there for a body of an instant, and ends with one that throws`() async throws {
        let (answer, reference) = try await beside { 7 }
        #expect(answer == 7 && reference.turns.count > 10 && reference.works.count == 1)
        await #expect(throws: TestServerError.self) { try await beside { throw TestServerError("no") } }
    }

    @Test func `a slow program is slow also beside it`() async throws {
        let slow = try await judged(below: .milliseconds(1), tries: 2) { .seconds(30) }
        #expect(!slow.holds, "\(slow)")
    }

    /// Long enough for some work of the reference.
    private func aWhile() async throws {
        let end = MonotonicInstant.now() + .milliseconds(500)
        try await until("a while has passed") { MonotonicInstant.now() >= end }
    }

    private final class Flag: Sendable {
        private let raised = Atomic(false)
        var isRaised: Bool { raised.load(ordering: .relaxed) }
        func raise() { raised.store(true, ordering: .relaxed) }
    }
}
