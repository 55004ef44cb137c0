import Logging
import TestServers
import Testing
import Vitals

@testable import AppCore

/// Transactions that a statement of their own body ends, and what is said of them.
@Suite("Transactions that end early")
struct EarlyEndTests {
    /// What a body does between its two rows, and which of them are kept.
    struct EarlyEnd: Sendable, CustomTestStringConvertible {
        enum Step: Sendable {
            case statement(String)
            case script(String)
            case batch([String])
        }

        var steps: [Step]
        var keeps: [Int]
        var testDescription: String { "\(steps)" }
    }

    static let earlyEnds = [
        EarlyEnd(steps: [.statement("COMMIT AND CHAIN")], keeps: [1]), EarlyEnd(steps: [.statement("END AND CHAIN")], keeps: [1]),
        EarlyEnd(steps: [.script("COMMIT; BEGIN")], keeps: [1]), EarlyEnd(steps: [.script("SELECT 1; COMMIT; SELECT 2; BEGIN; SELECT 3")], keeps: [1]),
        EarlyEnd(steps: [.statement("COMMIT"), .statement("START TRANSACTION")], keeps: [1]),
        EarlyEnd(steps: [.batch(["COMMIT", "BEGIN"])], keeps: [1]),
        EarlyEnd(steps: [.statement("ROLLBACK"), .statement("INSERT INTO kept VALUES (3)"), .statement("BEGIN")], keeps: [3]),
        EarlyEnd(steps: [.statement("ROLLBACK"), .statement("INSERT INTO kept VALUES (3) RETURNING n"), .statement("BEGIN")], keeps: [3]),
        EarlyEnd(steps: [.script("ROLLBACK; INSERT INTO kept VALUES (3) RETURNING n"), .statement("BEGIN")], keeps: [3]),
    ]

    @Test(arguments: earlyEnds, [false, true])
    func `D2: a body that commits a part itself is told neither success nor its own error alone, and what came after is undone`(
        end: EarlyEnd, throwsOwn: Bool
    ) async throws {
        struct Own: Error {}
        try await withTable { database in
            // By name at the end.
            for _ in 0..<3 {
                try await database.execute("DELETE FROM kept", for: "setup")
                do {
                    try await database.withTransaction(for: "ends early") { lease in
                        try await lease.keep(1)
                        for step in end.steps {
                            switch step {
                            case .statement(let text): try await lease.execute(SQL(unescaped: text))
                            case .script(let text): try await lease.script(text)
                            case .batch(let texts): _ = try await lease.batch(texts.map { SQL(unescaped: $0) })
                            }
                        }
                        try await lease.keep(2)
                        if throwsOwn { throw Own() }
                    }
                    Issue.record("said to be committed")
                } catch {
                    if case PostgresError.unsupported = error {} else { Issue.record("told: \(error)") }
                    #expect(mayHaveTakenEffect(error))
                    #expect("\(error)".contains("its body failed: Own()") == throwsOwn, "\(error)")
                }
                let left = try await database.kept()
                #expect(left == end.keeps)
            }
        }
    }

    @Test func `D2: nor is one around it, or one that was begun by hand`() async throws {
        try await withTable { database in
            do {
                try await database.withTransaction(for: "outer") { lease in
                    try await lease.keep(1)
                    try? await lease.transaction { _ = try await $0.execute("COMMIT AND CHAIN") }
                    try await lease.keep(2)
                }
                Issue.record("said to be committed")
            } catch PostgresError.unsupported {}
            #expect(try await database.kept() == [1])
            try await database.withConnection(for: "by hand") { lease in
                struct Own: Error {}
                for throwsOwn in [false, true] {
                    try await lease.execute("BEGIN")
                    do {
                        try await lease.transaction { lease in
                            try await lease.script("COMMIT; BEGIN")
                            if throwsOwn { throw Own() }
                        }
                        Issue.record("said to be kept")
                    } catch PostgresError.unsupported {}
                    try await lease.execute("ROLLBACK")
                }
            }
        }
    }

    @Test func `D2: a COMMIT whose answer the body did not wait for may have taken effect`() async throws {
        struct Own: Error {}
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(20)), server.endpoint, logger: .quiet) { database in
            try await database.execute("CREATE TABLE kept (n int PRIMARY KEY)", for: "setup")
            do {
                try await database.withTransaction(for: "gives up", within: .seconds(4)) { lease in
                    try await lease.keep(1)
                    server.freeze()
                    defer { server.thaw() }
                    try? await lease.script("SELECT 1; COMMIT; BEGIN")
                    throw Own()
                }
                Issue.record("said to be committed")
            } catch {
                if case PostgresError.unsupported = error {} else { Issue.record("told: \(error)") }
            }
        }
    }

    @Test func `D2: a body that undoes its work and throws is told its own error, and a savepoint of its own is no end`() async throws {
        struct Own: Error {}
        try await withTable { database in
            for text in ["ROLLBACK", "ROLLBACK AND CHAIN", "ABORT; BEGIN"] {
                await #expect(throws: Own.self, "\(text)") {
                    try await database.withTransaction(for: "undoes") { lease in
                        try await lease.keep(1)
                        try await lease.script(text)
                        throw Own()
                    }
                }
            }
            // What it undid is not committed, whatever it goes on to do.
            do {
                try await database.withTransaction(for: "undoes") { lease in
                    try await lease.keep(1)
                    try await lease.execute("ROLLBACK AND CHAIN")
                    try await lease.keep(2)
                }
                Issue.record("said to be committed")
            } catch PostgresError.unsupported {}
            #expect(try await database.kept() == [])
            try await database.withTransaction(for: "savepoints") { lease in
                for (number, text) in ["ROLLBACK TO mine", "ROLLBACK TRANSACTION TO SAVEPOINT mine", "rollback /* ABORT */ work to \"mine\""].enumerated() {
                    try await lease.execute("SAVEPOINT mine")
                    try await lease.keep(9)
                    try await lease.execute(SQL(unescaped: text))
                    try await lease.script("SAVEPOINT other; ROLLBACK TO SAVEPOINT other; RELEASE SAVEPOINT mine")
                    try await lease.keep(number)
                }
            }
            #expect(try await database.kept() == [0, 1, 2])
        }
    }

    @Test(arguments: [
        ("COMMIT", true), ("end", true), ("SELECT 1; /* so */ Commit AND CHAIN", true), ("PREPARE TRANSACTION 'x'", true),
        ("PREPARE x AS SELECT 1", false), ("SELECT CASE WHEN true THEN 1 END", false), ("SELECT 'a; COMMIT'", false), ("ROLLBACK", false),
        ("RELEASE SAVEPOINT x; SELECT \"commit\"", false), ("", false),
    ])
    func `a text that commits is known by how its statements begin`(text: String, commits: Bool) {
        #expect(TransactionEnds.mayCommit(text) == commits)
    }
}
