import TestServers
import Testing
import Vitals

@testable import AppCore

/// What one lease leaves for the next: nothing.
@Suite("Session")
struct SessionTests {
    struct Leak: Sendable, CustomTestStringConvertible {
        var does: [String]
        /// Answers true while what was done is still there.
        var look: String
        var isTold = false
        var testDescription: String { does[0] }
    }

    private static let leaks = [
        Leak(does: ["SET statement_timeout = '7s'"], look: "current_setting('statement_timeout') = '7s'"),
        Leak(does: ["SET TimeZone = 'Asia/Tokyo'"], look: "current_setting('TimeZone') <> 'UTC'"),
        Leak(does: ["RESET TimeZone"], look: "current_setting('TimeZone') <> 'UTC'"),
        Leak(does: ["LISTEN news"], look: "EXISTS (SELECT FROM pg_listening_channels())"),
        Leak(does: ["PREPARE mine AS SELECT 1"], look: "EXISTS (SELECT FROM pg_prepared_statements WHERE name = 'mine')"),
        Leak(
            does: ["BEGIN", "DECLARE mine CURSOR WITH HOLD FOR SELECT 1", "COMMIT"],
            look: "EXISTS (SELECT FROM pg_cursors WHERE name = 'mine')"),
        Leak(does: ["CREATE TEMP TABLE mine (a int)"], look: "to_regclass('pg_temp.mine') IS NOT NULL"),
        Leak(does: ["CREATE TEMPORARY TABLE mine AS SELECT 1 AS a"], look: "to_regclass('pg_temp.mine') IS NOT NULL"),
        Leak(
            does: ["SELECT set_config('statement_timeout', '7s', false)"], look: "current_setting('statement_timeout') = '7s'",
            isTold: true),
        Leak(
            does: ["SELECT pg_advisory_lock(7)"],
            look: "EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())",
            isTold: true),
    ]

    @Test(arguments: leaks)
    func `P10: what a lease changed in its session is gone for the next`(leak: Leak) async throws {
        let server = try await TestPostgres.start()
        try await server.superuserScript("ALTER ROLE app SET TimeZone = 'Europe/Paris'")
        let look = SQL(unescaped: "SELECT \(leak.look) AS leaked")
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(10)), server.endpoint) { database in
            try await database.withConnection(for: "first") { lease in
                for text in leak.does { try await lease.execute(SQL(unescaped: text)) }
                if leak.isTold { lease.changesSession() }
                #expect(try await lease.query(look).first?.bool("leaked") == true, "it was there")
            }
            let leaked = try await database.query(look, for: "next").first?.bool("leaked")
            #expect(leaked == false)
            // In a script each statement's tag is looked at.
            try await database.withConnection(for: "script") {
                try await $0.script((leak.does + ["SELECT 1"]).joined(separator: ";"))
            }
            if !leak.isTold { #expect(try await database.query(look, for: "next").first?.bool("leaked") == false) }
            #expect(database.pool.statistics().opened == 1, "restored, not replaced")
        }
    }

    @Test func `P10: a clean lease costs no round trip when it ends`() async throws {
        let server = try await TestPostgres.start()
        let last = "SELECT query FROM pg_stat_activity WHERE usename = 'app'"
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(10)), server.endpoint) { database in
            _ = try await database.query("SELECT 'the last word'", for: "clean")
            #expect(try await server.superuserScript(last) == "SELECT 'the last word'")
            _ = try await database.withTransaction(for: "clean") { try await $0.execute("SET LOCAL statement_timeout = '7s'") }
            #expect(try await server.superuserScript(last) == "COMMIT")
            _ = try await database.query("SET statement_timeout = '7s'", for: "changed")
            try await database.untilIdle(1)
            #expect(try await server.superuserScript(last) == SessionSetup.settings)
        }
    }

    @Test func `P10: after a session was restored its statements are prepared anew`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(10)), server.endpoint) { database in
            for round in 0..<3 {
                // In a transaction, where a name the server has forgotten would be an error.
                try await database.withTransaction(for: "round") { lease in
                    for _ in 0..<3 { #expect(try await lease.query("SELECT \(round)::int AS n").first?.int("n") == round) }
                    try await lease.execute("SET statement_timeout = '7s'")
                }
            }
        }
    }

    @Test func `who gives up a batch that has been answered leaves the next statement alone`() async throws {
        final class Owner: Sendable {}
        let server = try await TestPostgres.start()
        try await withConnection(server.endpoint) { connection in
            let (first, second) = (Owner(), Owner())
            func send(_ statement: SQL, for owner: Owner) async -> Operation.Answer {
                await withCheckedContinuation { continuation in
                    #expect(connection.send([statement], for: owner) { continuation.resume(returning: $0) })
                }
            }
            #expect(await send("SELECT 1", for: first).error == nil)
            let later = Deadline(.now() + .seconds(30))
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { _ = try await connection.query("SELECT pg_sleep(0.1)", until: later) }
                try await until("the next statement runs") { connection.condition == .needsRecovery }
                connection.giveUp(for: first)
                try await group.waitForAll()
            }
            async let answer = send("SELECT pg_sleep(30)", for: second)
            try await until("the next batch runs") { connection.condition == .needsRecovery }
            connection.giveUp(for: first)
            #expect(!connection.isAbandoned)
            connection.giveUp(for: second)
            guard case .deadlineExceeded = await answer.error else { throw PostgresError.notSent("the batch was not given up") }
            #expect(connection.isAbandoned)
        }
    }

    @Test func `P10: a SET given up at its deadline does not leak either`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(10)), server.endpoint) { database in
            try await database.untilIdle(1)
            await #expect(throws: PostgresError.self) {
                _ = try await database.withConnection(for: "slow", within: .milliseconds(100)) { lease in
                    try await lease.script("SET lock_timeout = '7s'; COMMIT; SELECT pg_sleep(30)")
                }
            }
            let value = try await database.query("SELECT current_setting('lock_timeout') AS value", for: "next").first?.string(
                "value")
            #expect(value == "0")
            #expect(database.pool.statistics().opened == 1)
        }
    }

    @Test(
        arguments: [
            ("SET", "SET statement_timeout = 0", true), ("SET", "set local statement_timeout = 0", false),
            ("SET", "/* why */ SET -- LOCAL?\n LOCAL x = 1", false),
            ("SET", "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", true),
            ("SET", "SET TRANSACTION READ ONLY", false), ("SET", nil, true),
            ("SET CONSTRAINTS", "SET CONSTRAINTS ALL DEFERRED", false),
            ("DECLARE CURSOR", "DECLARE c CURSOR FOR SELECT 1", false),
            ("DECLARE CURSOR", "DECLARE c CURSOR WITH HOLD FOR SELECT 1", true),
            ("CREATE TABLE", "CREATE TABLE temperature (t int)", false),
            ("CREATE TABLE", "create local temp table t (a int)", true),
            ("SELECT 1", "CREATE TABLE t AS SELECT 1", false), ("SELECT 1", "CREATE TEMP TABLE t AS SELECT 1", true),
            ("INSERT 0 1", "INSERT INTO t VALUES (1)", false), ("UPDATE 1", "UPDATE t SET a = 1", false),
            ("UNLISTEN", "UNLISTEN *", false),
            ("PREPARE TRANSACTION", "PREPARE TRANSACTION 'x'", false), ("DISCARD ALL", "DISCARD ALL", true),
            ("BEGIN", "BEGIN", false),
        ] as [(String, String?, Bool)])
    func `a command tag shows whether the session changed`(tag: String, text: String?, changes: Bool) {
        #expect(SessionChange.isShown(by: tag, of: text) == changes)
    }
}
