import TestServers
import Testing
import Vitals

@testable import AppCore

/// A server that takes no writes, from the beginning or from now on.
@Suite("Read-only servers")
struct ReadOnlyServerTests {
    private let readOnly = "ALTER SYSTEM SET default_transaction_read_only = on; SELECT pg_reload_conf()"

    /// Twenty writes, of which the server refuses each with 25006, and as many reads between them.
    private func writeInVain(_ database: Database) async throws {
        for turn in 0..<20 {
            do {
                try await database.execute("CREATE TABLE written_\(unescaped: "\(turn)") (n int)", for: "write")
                Issue.record("a server that takes no writes took one")
            } catch {
                #expect((error as? PostgresError)?.sqlState == "25006", "\(error)")
            }
            #expect(try await database.query("SELECT 1 AS one", for: "read").first?.int("one") == 1)
        }
    }

    private func expectUntouched(_ database: Database, opened: Int) {
        let statistics = database.pool.statistics()
        #expect(statistics.opened == opened)
        #expect(statistics.closed.values.allSatisfy { $0 == 0 }, "\(statistics.closed)")
    }

    @Test("D4: a server that takes no writes from the beginning keeps its connections, and each write is refused as it is")
    func fromTheBeginning() async throws {
        let server = try await TestPostgres.start()
        try await server.superuserScript(readOnly)
        // The reload reaches the process that begins sessions in its own time.
        try await until("new sessions only read") { try await server.superuserScript("SHOW default_transaction_read_only") == "on" }
        let log = LogLines()
        try await withPool(PoolConfiguration(max: 4, min: 4), server.endpoint, logger: log.logger) { database in
            try await database.untilIdle(4)
            try await writeInVain(database)
            expectUntouched(database, opened: 4)
        }
        #expect(log.all.filter { $0.hasPrefix("warning") } == [])
    }

    @Test("D4: a lone standby keeps its connections, and each write is refused as it is")
    func loneStandby() async throws {
        let standby = try await TestPostgres.startStandby(of: TestPostgres.start())
        try await withPool(PoolConfiguration(max: 4, min: 4), standby.endpoint) { database in
            try await database.untilIdle(4)
            try await writeInVain(database)
            expectUntouched(database, opened: 4)
        }
    }

    @Test("D4, D13: a server that takes no writes from now on is left once, with one warning, and kept from then on")
    func fromNowOn() async throws {
        let server = try await TestPostgres.start()
        let log = LogLines()
        try await withPool(PoolConfiguration(max: 4, min: 4), server.endpoint, logger: log.logger) { database in
            try await database.untilIdle(4)
            try await server.superuserScript(readOnly)
            try await until("the server is left") {
                _ = try? await database.execute("CREATE TABLE IF NOT EXISTS early (n int)", for: "write")
                return database.pool.statistics().closed[.failover] == 4
            }
            try await database.untilIdle(4)
            try await writeInVain(database)
            #expect(database.pool.statistics().closed[.failover] == 4 && database.pool.statistics().opened == 8)
        }
        #expect(log.all.filter { $0.hasPrefix("warning") }.count == 1, "\(log.all)")
    }
}
