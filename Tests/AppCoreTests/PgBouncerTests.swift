import TestServers
import Testing
import Vitals

@testable import AppCore

/// The pool with a real PgBouncer in transaction mode between it and the server: each transaction may meet another server connection.
@Suite("PgBouncer")
struct PgBouncerTests {
    private func withPooler<Result: Sendable>(
        serverConnections: Int = 3, _ configuration: PoolConfiguration,
        _ body: @Sendable (Database, TestPostgres) async throws -> Result
    ) async throws -> Result {
        let server = try await TestPostgres.start()
        try await server.superuserScript("ALTER ROLE app SET TimeZone = 'Europe/Paris'")
        let pooler = try await TestPgBouncer.start(before: server, serverConnections: serverConnections)
        let endpoint = server.endpoint(["host": pooler.socketDirectory, "port": "\(TestPgBouncer.port)"])
        return try await withPool(configuration, endpoint) { try await body($0, server) }
    }

    @Test func `a pooler is noticed, and the server's process is not claimed to be known`() async throws {
        try await withPooler(PoolConfiguration(max: 1, min: 1)) { database, _ in
            let pid = try await database.withConnection(for: "test") { $0.backendPID }
            #expect(pid == 0)
        }
    }

    @Test func `many callers share few server connections, with statements that come again, batches and transactions`() async throws
    {
        try await withPooler(PoolConfiguration(max: 20, min: 20, deadline: .seconds(20))) { database, _ in
            try await database.untilIdle(database.pool.configuration.min)
            let zones = try await withThrowingTaskGroup(of: Set<String>.self) { group in
                for caller in 0..<40 {
                    group.addTask {
                        var zones: Set<String> = []
                        for turn in 0..<20 {
                            #expect(try await database.query("SELECT \(caller)::int AS n", for: "one").first?.int("n") == caller)
                            let batch = try await database.withConnection(for: "batch") { lease in
                                try await lease.batch(["SELECT \(caller)::int AS n", "SELECT \(turn)::int AS n"]).map {
                                    try $0.first?.int("n")
                                }
                            }
                            #expect(batch == [caller, turn])
                            zones.insert(
                                try await database.withTransaction(for: "transaction") { lease in
                                    _ = try await lease.query("SELECT \(caller)::int AS n")
                                    let row = try await lease.query("SELECT current_setting('TimeZone') || ' ' || now() AS zone")
                                        .first
                                    return try #require(row).string("zone").split(separator: " ")[0].description
                                })
                        }
                        return zones
                    }
                }
                return try await group.reduce(into: Set()) { $0.formUnion($1) }
            }
            #expect(zones == ["UTC"])
            #expect(database.pool.statistics().queryErrorsBySQLStateClass.values.reduce(0, +) == 0)
        }
    }

    @Test func `every server connection has our time zone, also after a caller changed its session`() async throws {
        try await withPooler(serverConnections: 4, PoolConfiguration(max: 8, min: 8, deadline: .seconds(20))) { database, _ in
            try await database.untilIdle(database.pool.configuration.min)
            _ = try await database.query("SET TimeZone = 'Asia/Tokyo'", for: "changes")
            struct Seen: Sendable { var backend: Int, zone: String }
            let seen = try await withThrowingTaskGroup(of: Seen.self) { group in
                for _ in 0..<4 {
                    group.addTask {
                        // Long enough for all four to be at work at once.
                        let rows = try await database.query(
                            "SELECT pg_backend_pid() AS pid, current_setting('TimeZone') AS zone, pg_sleep(0.2)", for: "look")
                        let row = try #require(rows.first)
                        return Seen(backend: try row.int("pid"), zone: try row.string("zone"))
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(Set(seen.map(\.backend)).count == 4)
            #expect(Set(seen.map(\.zone)) == ["UTC"])
        }
    }

    @Test func `a statement given up at its deadline is cancelled through the pooler`() async throws {
        try await withPooler(PoolConfiguration(max: 1, min: 1, deadline: .seconds(10))) { database, server in
            try await database.untilIdle(database.pool.configuration.min)
            await #expect(throws: PostgresError.self) {
                try await database.query("SELECT pg_sleep(30)", for: "slow", within: .milliseconds(200))
            }
            let rows = try await database.query("SELECT 7 AS n", for: "after")
            #expect(try rows.first?.int("n") == 7)
            #expect(
                try await server.superuserScript(
                    "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30)' AND state = 'active'") == "0")
            #expect(database.pool.statistics().opened == 1)
        }
    }

    @Test func `with prepared on, statements are named behind a pooler too`() async throws {
        try await withPooler(serverConnections: 1, PoolConfiguration(max: 1, min: 1, deadline: .seconds(10), prepared: .on)) {
            database, server in
            try await database.untilIdle(database.pool.configuration.min)
            for _ in 0..<3 { _ = try await database.query("SELECT 1 AS n", for: "test") }
            #expect(try await server.superuserScript("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'") == "1")
            #expect(try await database.query("SELECT count(*) AS n FROM pg_prepared_statements", for: "look").first?.int("n") == 1)
        }
    }
}
