import Glibc
import TestServers
import Testing

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
