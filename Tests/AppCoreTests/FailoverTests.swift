import TestServers
import Testing
import Vitals

@testable import AppCore

/// A primary and a standby that change places: real servers, real promotion.
@Suite("Failover")
struct FailoverTests {
    /// One server for what leaves it as it was.
    private static let shared = SharedServer()

    private func pair() async throws -> (primary: TestPostgres, standby: TestPostgres) {
        let primary = try await TestPostgres.start()
        try await primary.superuserScript("CREATE TABLE written (n int); ALTER TABLE written OWNER TO app")
        return (primary, try await TestPostgres.startStandby(of: primary))
    }

    private func endpoint(_ servers: [TestPostgres], _ attributes: String) -> PostgresEndpoint {
        servers[0].endpoint(["host": servers.map(\.socketDirectory).joined(separator: ","), "target_session_attrs": attributes])
    }

    /// Writes until it succeeds; answers how long that took.
    private func untilWritten(_ database: Database) async throws -> Duration {
        try await timed {
            try await until("a write succeeds") { (try? await database.execute("INSERT INTO written VALUES (1)", for: "write")) != nil }
        }
    }

    private func isInRecovery(_ database: Database) async throws -> Bool? {
        try await database.query("SELECT pg_is_in_recovery() AS yes", for: "look").first?.bool("yes")
    }

    @Test func `P9: writes succeed again within 2 s of the new primary`() async throws {
        let (primary, standby) = try await pair()
        try await withPool(PoolConfiguration(max: 4, min: 2), endpoint([primary, standby], "read-write")) { database in
            _ = try await untilWritten(database)
            #expect(try await isInRecovery(database) == false)
            try await primary.stop()
            try await database.untilUnavailable()
            try await standby.superuserScript("SELECT pg_promote()")
            #expect(try await untilWritten(database) < promise(.seconds(2), "P9: writes succeed again after the new primary answers"))
        }
    }

    @Test func `P9: the sessions of a server that takes no writes any more go at once`() async throws {
        let server = try await TestPostgres.start()
        try await server.superuserScript("CREATE TABLE written (n int); ALTER TABLE written OWNER TO app")
        try await withPool(PoolConfiguration(max: 4, min: 4), server.endpoint) { database in
            try await database.untilIdle(4)
            try await server.superuserScript("ALTER SYSTEM SET default_transaction_read_only = on; SELECT pg_reload_conf()")
            try await database.withConnection(for: "holder") { _ in
                // The reload reaches each session in its own time.
                try await until("a write fails") { (try? await database.execute("INSERT INTO written VALUES (1)", for: "write")) == nil }
                #expect(database.pool.statistics().closed[.failover] == 3, "the one that failed and the idle ones")
            }
            #expect(database.pool.statistics().closed[.failover] == 4, "the leased one when it came back")
            try await server.superuserScript(
                "SET default_transaction_read_only = off; ALTER SYSTEM RESET default_transaction_read_only; SELECT pg_reload_conf()"
            )
            #expect(try await untilWritten(database) < promise(.seconds(2), "P9: writes succeed again after the new primary answers"))
        }
    }

    @Test(arguments: [
        ("57P01", true), ("57P02", true), ("57P03", true), ("08000", true), ("08003", true), ("08006", true), ("25P03", true),
        // The server is well and so is the connection: the statement was wrong, unlucky, cancelled or too much.
        ("22012", false), ("23505", false), ("40001", false), ("42P01", false), ("53300", false), ("57014", false), ("25P02", false), ("25006", false),
    ])
    func `P9: what says that the server goes away ends the connection, and nothing else does`(sqlState: String, ends: Bool) async throws {
        #expect(ServerError(sqlState: sqlState, message: "").condemnsConnection == ends)
        let server = try await Self.shared.get()
        try await withPool(PoolConfiguration(max: 1), server.endpoint) { database in
            try await database.untilIdle(1)
            let before = try await database.withConnection(for: "before") { $0.backendPID }
            do {
                try await database.withConnection(for: "raises") {
                    try await $0.script("DO $$ BEGIN RAISE EXCEPTION 'as if' USING ERRCODE = '\(sqlState)'; END $$")
                }
                Issue.record("nothing was raised")
            } catch {
                #expect((error as? PostgresError)?.sqlState == sqlState)
            }
            let after = try await database.withConnection(for: "after") { $0.backendPID }
            #expect((after != before) == ends)
            let statistics = database.pool.statistics()
            #expect(statistics.closed[.error] == (ends ? 1 : 0))
            #expect(statistics.closed[.failover] == 0, "it is one connection that goes, not the server")
            #expect(statistics.opened == (ends ? 2 : 1))
        }
    }

    @Test func `P9: a transaction that its caller made read-only says nothing about the server`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 3, min: 3), server.endpoint) { database in
            try await database.untilIdle(3)
            await #expect(throws: PostgresError.self) {
                try await database.withConnection(for: "reader") {
                    try await $0.script("BEGIN READ ONLY; CREATE TABLE written (n int)")
                }
            }
            #expect(database.pool.statistics().closed[.failover] == 0)
            #expect(database.pool.statistics().idle >= 2)
        }
    }

    @Test func `P9: a demoted primary that comes back as a standby on its old address is left when the new one answers`()
        async throws
    {
        let (primary, standby) = try await pair()
        try await withPool(PoolConfiguration(max: 4, min: 2), endpoint([primary, standby], "read-write")) { database in
            _ = try await untilWritten(database)
            try await primary.demote()
            // Both are standbys: neither will do.
            try await database.untilUnavailable()
            try await standby.superuserScript("SELECT pg_promote()")
            #expect(try await untilWritten(database) < promise(.seconds(2), "P9: writes succeed again after the new primary answers"))
            #expect(try await isInRecovery(database) == false)
        }
    }

    @Test func `P9: a connection to another server ends the generation of those before it`() async throws {
        let (primary, standby) = try await pair()
        // The first that answers will do, so the pool lands on the standby when the primary is away, and returns.
        try await withPool(PoolConfiguration(max: 2, min: 2), endpoint([primary, standby], "any")) { database in
            try await database.untilIdle(2)
            try await primary.stop()
            try await until("the standby answers") { (try? await isInRecovery(database)) == true }
            try await database.untilIdle(2)
            try await primary.startAgain()
            // A connection is wanted: it leads to the primary again, and the one that is left on the standby follows within a second.
            try await standby.superuserScript("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app' LIMIT 1")
            try await until("the other server is left") { database.pool.statistics().closed[.failover] != 0 }
            #expect(try await isInRecovery(database) == false)
            try await until("nobody is left on the standby") {
                try await standby.superuserScript("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'") == "0"
            }
        }
    }

    @Test func `P9: a promoted standby is noticed on the connections that stand`() async throws {
        let (primary, standby) = try await pair()
        try await withPool(PoolConfiguration(max: 2, min: 2), standby.endpoint) { database in
            try await database.untilIdle(2)
            try await primary.stop()
            try await standby.superuserScript("SELECT pg_promote()")
            // The server reports its role before it is ready for the next statement: no question is asked for it.
            _ = try await database.query("SELECT 1", for: "any statement")
            #expect(database.pool.statistics().closed[.failover] == 2)
        }
    }

    @Test(arguments: ["standby", "prefer-standby", "read-only"])
    func `a pool for readers finds the standby`(attributes: String) async throws {
        let (primary, standby) = try await pair()
        try await withPool(PoolConfiguration(max: 2), endpoint([primary, standby], attributes)) { database in
            let isStandby = try await isInRecovery(database)
            #expect(isStandby == true)
        }
    }
}
