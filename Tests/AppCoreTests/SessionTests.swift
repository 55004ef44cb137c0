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
        var testDescription: String { does.joined(separator: "; ") }
    }

    private static let isSet = "current_setting('statement_timeout') = '7s'"
    private static let isLocked = "EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())"
    private static let isThere = "to_regclass('pg_temp.mine') IS NOT NULL"

    private static let leaks = [
        Leak(does: ["SET statement_timeout = '7s'"], look: isSet),
        Leak(does: ["SET TimeZone = 'Asia/Tokyo'"], look: "current_setting('TimeZone') <> 'UTC'"),
        Leak(does: ["RESET TimeZone"], look: "current_setting('TimeZone') <> 'UTC'"),
        Leak(does: ["LISTEN news"], look: "EXISTS (SELECT FROM pg_listening_channels())"),
        Leak(does: ["PREPARE mine AS SELECT 1"], look: "EXISTS (SELECT FROM pg_prepared_statements WHERE name = 'mine')"),
        Leak(
            does: ["BEGIN", "DECLARE mine CURSOR WITH HOLD FOR SELECT 1", "COMMIT"],
            look: "EXISTS (SELECT FROM pg_cursors WHERE name = 'mine')"),
        Leak(does: ["CREATE TEMP TABLE mine (a int)"], look: isThere),
        Leak(does: ["CREATE TEMPORARY TABLE mine AS SELECT 1 AS a"], look: isThere),
        // What no command tag shows.
        Leak(does: ["SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"], look: "current_setting('default_transaction_read_only') = 'on'"),
        Leak(does: ["CREATE TABLE pg_temp.mine (a int)"], look: isThere),
        Leak(does: ["CREATE TABLE \"pg_temp\".mine AS SELECT 1 AS a"], look: isThere),
        Leak(does: ["SELECT 1 AS a INTO TEMP mine"], look: isThere),
        Leak(does: ["CREATE LOCAL TEMP VIEW mine AS SELECT 1 AS a"], look: isThere),
        Leak(
            does: ["CREATE FUNCTION pg_temp.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'"], look: "EXISTS (SELECT FROM pg_proc WHERE proname = 'mine')"),
        Leak(does: ["SELECT set_config('statement_timeout', '7s', false)"], look: isSet),
        Leak(does: ["WITH made AS (SELECT pg_catalog.set_config('statement_timeout', '7s', 1 > 2)) SELECT * FROM made"], look: isSet),
        Leak(does: ["DO $$ BEGIN PERFORM set_config('statement_timeout', '7s', false); END $$"], look: isSet),
        Leak(does: ["SELECT pg_advisory_lock(7)"], look: isLocked),
        Leak(does: ["SELECT PG_TRY_ADVISORY_LOCK_SHARED(7, 8)"], look: isLocked),
        Leak(does: ["SELECT \"pg_advisory_lock\" /* for long */ (7)"], look: isLocked),
        Leak(does: [#"SELECT U&"pg\005fadvisory_lock"(7)"#], look: isLocked),
        Leak(does: ["SELECT E'a'\n'\\'', pg_advisory_lock(7)"], look: isLocked),
        // What a function of one's own does is not seen.
        Leak(does: ["SELECT sneaks()"], look: isSet, isTold: true),
        Leak(does: ["CALL sneaks_too()"], look: isSet, isTold: true),
    ]

    @Test func `a statement that was given up may have changed the session all the same, and leaves nothing of it`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(20)), server.endpoint) { database in
            try await database.untilIdle(1)
            server.freeze()
            await #expect(throws: PostgresError.self) {
                try await database.execute("SET statement_timeout = '7s'", for: "gives up", within: .milliseconds(100))
            }
            // It lies in the socket, and is done before the request to cancel it is read.
            server.thaw()
            let isSet = SQL(unescaped: "SELECT \(Self.isSet) AS set")
            #expect(try await database.query(isSet, for: "next").first?.bool("set") == false)
        }
    }

    @Test(arguments: leaks)
    func `P10, D7: what a lease changed in its session is gone for the next`(leak: Leak) async throws {
        let server = try await TestPostgres.start()
        try await server.superuserScript("ALTER ROLE app SET TimeZone = 'Europe/Paris'; GRANT CREATE ON SCHEMA public TO app")
        let look = SQL(unescaped: "SELECT \(leak.look) AS leaked")
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(10)), server.endpoint) { database in
            try await database.withConnection(for: "setup") { lease in
                try await lease.script(
                    """
                    CREATE FUNCTION sneaks() RETURNS text LANGUAGE sql AS 'SELECT set_config(''statement_timeout'', ''7s'', false)';
                    CREATE PROCEDURE sneaks_too() LANGUAGE plpgsql AS 'BEGIN PERFORM sneaks(); END'
                    """)
            }
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
            let pid = connection.backendPID
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    let error = await #expect(throws: PostgresError.self) { _ = try await connection.query("SELECT pg_sleep(600)", until: .never) }
                    #expect(error?.sqlState == "57014", "\(error.map { "\($0)" } ?? "it slept to its end")")
                }
                try await until("the next statement runs") {
                    try await server.superuserScript("SELECT wait_event FROM pg_stat_activity WHERE pid = \(pid)") == "PgSleep"
                }
                connection.giveUp(for: first)
                #expect(!connection.isAbandoned)
                // Nobody but the server ends it.
                _ = try await server.superuserScript("SELECT pg_cancel_backend(\(pid))")
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

    @Test func `D7: a lock that an abandoned SELECT got, or would get, is gone for the next`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(10)), server.endpoint) { database in
            try await database.untilIdle(1)
            for text in ["SELECT pg_advisory_lock(7), pg_sleep(30)", "SELECT set_config('statement_timeout', '7s', false), pg_sleep(30)"] {
                await #expect(throws: PostgresError.self) {
                    _ = try await database.withConnection(for: "slow", within: .milliseconds(200)) { try await $0.query(SQL(unescaped: text)).count }
                }
                let left = try await database.query(SQL(unescaped: "SELECT \(Self.isLocked) OR \(Self.isSet) AS left_behind"), for: "next")
                #expect(try left.first?.bool("left_behind") == false)
            }
            #expect(database.pool.statistics().opened == 1)
        }
    }

    @Test func `D7: a number that a lease took from a sequence is its own`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(10)), server.endpoint) { database in
            try await database.execute("CREATE SEQUENCE numbers", for: "setup")
            try await database.withConnection(for: "first") { lease in
                _ = try await lease.query("SELECT nextval('numbers')")
                #expect(try await lease.query("SELECT currval('numbers') AS n").first?.int("n") == 1)
            }
            try await database.withConnection(for: "next") { lease in
                #expect(await lease.failure(of: "SELECT currval('numbers')")?.sqlState == "55000")
            }
        }
    }

    @Test func `D7: a large object is closed with its transaction, and a setting for one ends with it: neither costs anything`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(10)), server.endpoint) { database in
            _ = try await database.withTransaction(for: "first") { lease in
                _ = try await lease.query("SELECT lo_open(lo_create(4711), 131072)")
                _ = try await lease.query("SELECT set_config('statement_timeout', \("7s"), true)")
                _ = try await lease.query("SELECT pg_advisory_xact_lock(7)")
            }
            #expect(try await server.superuserScript("SELECT query FROM pg_stat_activity WHERE usename = 'app'") == "COMMIT")
            try await database.withConnection(for: "next") { lease in
                #expect(await lease.failure(of: "SELECT loread(0, 1)")?.sqlState == "42704")
                let left = try await lease.query(SQL(unescaped: "SELECT \(Self.isSet) OR \(Self.isLocked) AS left_behind"))
                #expect(try left.first?.bool("left_behind") == false)
            }
        }
    }

    @Test(arguments: [
        "SELECT setseed(0.5)", "LOAD 'plpgsql'", "SELECT pg_backup_start('mine', true)",
        "SELECT pg_create_physical_replication_slot('mine', false, true)",
    ])
    func `D7: a connection whose session nothing restores is replaced`(text: String) async throws {
        let server = try await TestPostgres.start()
        try await server.superuserScript("ALTER ROLE app SUPERUSER")
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(10)), server.endpoint) { database in
            try await database.withConnection(for: "first") { lease in
                try await lease.execute(SQL(unescaped: text))
                #expect(try await lease.query("SELECT 7 AS n").first?.int("n") == 7)
            }
            #expect(try await database.query("SELECT 7 AS n", for: "next").first?.int("n") == 7)
            #expect(database.pool.statistics().opened == 2)
        }
    }

    @Test(
        arguments: [
            ("SET", "SET statement_timeout = 0", .session), ("SET", "set local statement_timeout = 0", .none),
            ("SET", "/* why */ SET -- LOCAL?\n LOCAL x = 1", .none), ("SET", "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", .session),
            ("SET", "SET TRANSACTION READ ONLY", .none), ("SET", nil, .session), ("SET CONSTRAINTS", "SET CONSTRAINTS ALL DEFERRED", .none),
            ("DECLARE CURSOR", "DECLARE c CURSOR FOR SELECT 1", .none), ("DECLARE CURSOR", "DECLARE c CURSOR WITH HOLD FOR SELECT 1", .session),
            ("CREATE TABLE", "CREATE TABLE temperature (t int)", .none), ("SELECT 1", "CREATE TABLE t AS SELECT 1", .none),
            ("INSERT 0 1", "INSERT INTO t VALUES (1)", .none), ("UPDATE 1", "UPDATE t SET a = 1", .none), ("UNLISTEN", "UNLISTEN *", .none),
            ("PREPARE TRANSACTION", "PREPARE TRANSACTION 'x'", .none), ("DISCARD ALL", "DISCARD ALL", .session), ("BEGIN", "BEGIN", .none),
            ("DO", "DO 'BEGIN END'", .session), ("CALL", "CALL tidy_up()", .none), ("LOAD", "LOAD 'plpgsql'", .connection),
        ] as [(String, String?, SessionChange)])
    func `a command tag shows whether the session changed`(tag: String, text: String?, change: SessionChange) {
        #expect(SessionChange.shown(by: tag, of: text) == change)
    }

    @Test(
        arguments: [
            ("create local temp table t (a int)", .session), ("CREATE OR REPLACE TEMPORARY VIEW v AS SELECT 1", .session),
            ("CREATE TEMP TABLE t AS SELECT 1", .session), ("SELECT 1 AS a INTO TEMPORARY TABLE t", .session), ("DROP TABLE pg_temp_3.t", .session),
            ("SELECT temp, temporary FROM readings", .none), ("INSERT INTO temp VALUES (1)", .none), ("CREATE TABLE temp (a int)", .none),
            ("CREATE TABLE a (temp int); CREATE TEMP TABLE b (a int)", .session), ("SELECT 'pg_temp', $$nextval$$, E'\\'setval' -- pg_temp", .none),
            ("SELECT nextval('s')", .session), ("INSERT INTO t (id) SELECT setval('s', 7)", .session), ("SELECT currval('s'), lastval()", .none),
            ("SELECT set_config('a', $1, true)", .none), ("SELECT set_config('a', f(x, (1)), TRUE)", .none),
            ("SELECT set_config('a', 'b', is_local => true)", .none), ("SELECT set_config('a', 'b', $1)", .session),
            ("SELECT set_config('a', 'b', not true)", .session), ("SELECT set_config('a', 'b', \"true\") FROM t", .session),
            ("SELECT set_config('a', set_config('b', 'c', false), true)", .session), ("SELECT set_config", .session),
            ("SELECT pg_advisory_lock_shared(1)", .session), ("SELECT pg_advisory_xact_lock(1), pg_advisory_unlock(1)", .none),
            ("SELECT setseed(0.5)", .connection), ("SELECT dblink_connect_u('c')", .connection), ("SELECT nextval('s'), setseed(0)", .connection),
            ("SELECT * FROM pg_backup_start('x', true)", .connection), ("SELECT pg_backup_stop(), pg_drop_replication_slot('x')", .none),
            ("SELECT pg_create_logical_replication_slot('x', 'test_decoding', true)", .connection),
            ("SELECT pg_copy_logical_replication_slot('x', 'y')", .connection), ("SELECT E'a'\n'\\'', setval('s', 7)", .session),
            ("SELECT E'a'\n'\\'', ' setval('", .none),
            ("SELECT query_to_xml('SELECT nextval(1)', true, false, '')", .session), (#"SELECT U&"\006eextval"('s')"#, .session), ("", .none),
        ] as [(String, SessionChange)])
    func `a text shows whether the session will change`(text: String, change: SessionChange) {
        #expect(SessionChange.named(in: text) == change)
    }
}
