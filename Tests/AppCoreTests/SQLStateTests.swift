import TestServers
import Testing
import Vitals

@testable import AppCore

/// The one table of PostgreSQL's errors.
@Suite("SQLState")
struct SQLStateTests {
    private static let shared = SharedServer()

    @Test("D12: every class and every code that PostgreSQL knows has its place, and no other has one")
    func complete() {
        // Source: PostgreSQL 15, appendix A.
        let known = "00 01 02 03 08 09 0A 0B 0F 0L 0P 0Z 20 21 22 23 24 25 26 27 28 2B 2D 2F 34 38 39 3B 3D 3F 40 42 44 53 54 55 57 58 72 F0 HV P0 XX"
            .split(separator: " ").map(String.init)
        #expect(SQLState.classes.keys.sorted() == known.sorted())
        for code in SQLState.codes.keys {
            #expect(code.count == 5 && SQLState.classes[String(code.prefix(2))] != nil, "\(code)")
            #expect(SQLState.codes[code] != SQLState.classes[String(code.prefix(2))], "\(code) means what its class means")
        }
        #expect(SQLState.meaning(of: "ZZ123") == .statement && SQLState.meaning(of: "") == .statement)
    }

    @Test("D12: what a SQLSTATE means", arguments: [
        ("08006", .away), ("57P01", .away), ("57P02", .away), ("57P03", .away), ("57P05", .away), ("25P03", .away), ("40003", .away),
        ("53000", .full), ("53100", .full), ("53200", .full), ("53300", .full), ("53400", .full), ("58030", .full),
        ("57014", .busy), ("55P03", .busy), ("55006", .busy),
        ("40000", .conflict), ("40001", .conflict), ("40P01", .conflict), ("72000", .conflict),
        ("25006", .readOnly), ("42P01", .schema), ("42703", .schema), ("42883", .schema), ("3F000", .schema),
        ("28P01", .denied), ("28000", .denied), ("42501", .denied), ("3D000", .denied),
        ("0A000", .stalePlan), ("26000", .stalePlan),
        ("23505", .constraint), ("23514", .constraint), ("40002", .constraint), ("22021", .text), ("22P05", .text),
        ("22012", .statement), ("25P02", .statement), ("42601", .statement), ("54000", .statement), ("P0001", .statement), ("XX000", .statement),
    ] as [(String, SQLState.Meaning)])
    func meaning(sqlState: String, meaning: SQLState.Meaning) {
        #expect(SQLState.meaning(of: sqlState) == meaning)
        #expect(ServerError(sqlState: sqlState, message: "").condemnsConnection == (meaning == .away))
    }

    @Test("D12: an agent task goes back to the queue for whatever may pass: a privilege or a column may be missing while somebody migrates", arguments: [
        ("53300", true), ("57014", true), ("55P03", true), ("40001", true), ("40P01", true), ("25006", true), ("57P01", true),
        ("42P01", true), ("42703", true), ("42501", true), ("22012", false), ("23505", false), ("42601", false),
    ])
    func transient(sqlState: String, isTransient: Bool) {
        #expect(TaskRun.isTransient(PostgresError.server(ServerError(sqlState: sqlState, message: ""))) == isTransient)
    }

    @Test("D12: a statement that was undone because of another transaction is run again, and takes effect once")
    func runAgain() async throws {
        let endpoint = try await Self.shared.get().endpoint(["options": "-c default_transaction_isolation=serializable"])
        try await withPool(PoolConfiguration(max: 8, min: 8, deadline: .seconds(60)), endpoint) { database in
            try await database.withConnection(for: "setup") { try await $0.script("CREATE TABLE counted (n int); INSERT INTO counted VALUES (0)") }
            try await database.untilIdle(8)
            let each = 25
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        for _ in 0..<each { try await database.execute("UPDATE counted SET n = n + 1", for: "count") }
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await database.query("SELECT n FROM counted", for: "look").first?.int("n") == 8 * each)
            #expect(database.pool.statistics().queryErrorsBySQLStateClass["40"] != 0, "nothing was undone, so nothing was run again")
        }
    }

    @Test("D12: what may have taken effect in part is not run again, and nobody is kept beyond its deadline")
    func notAgain() async throws {
        try await withPool(PoolConfiguration(max: 1), Self.shared.get().endpoint) { database in
            try await database.withConnection(for: "setup") {
                // What a sequence has given stays given, also when the transaction is undone.
                try await $0.script(
                    """
                    CREATE SEQUENCE tries; SELECT nextval('tries');
                    CREATE FUNCTION conflict() RETURNS int LANGUAGE plpgsql AS
                    $$ BEGIN PERFORM nextval('tries'); RAISE EXCEPTION 'as if' USING ERRCODE = '40001'; END $$
                    """)
            }
            func tries() async throws -> Int { try await database.query("SELECT last_value - 1 AS n FROM tries", for: "look").first?.int("n") ?? 0 }
            await #expect(throws: PostgresError.self) { try await database.query("DO 'BEGIN PERFORM conflict(); END'", for: "block") }
            #expect(try await tries() == 1)
            let budget = Duration.milliseconds(200)
            let overrun = try await judged(below: .milliseconds(100)) {
                await timed {
                    do {
                        _ = try await database.query("SELECT conflict()", for: "again", within: budget)
                        Issue.record("nothing was raised")
                    } catch {
                        #expect((error as? PostgresError)?.meaning == .conflict, "\(error)")
                    }
                } - budget
            }
            #expect(overrun.holds, "\(overrun)")
            #expect(try await tries() > 2)
        }
    }
}
