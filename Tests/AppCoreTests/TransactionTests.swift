import Logging
import TestServers
import Testing
import Vitals

@testable import AppCore

/// What a transaction says of itself is what became of it.
@Suite("Transactions")
struct TransactionTests {
    private func expectRolledBack(_ body: () async throws -> Void) async {
        do {
            try await body()
            Issue.record("said to be committed")
        } catch PostgresError.transactionRolledBack {
        } catch {
            Issue.record("told: \(error)")
        }
    }

    @Test func `D2: a transaction whose body swallowed an error is rolled back, and says so`() async throws {
        try await withTable { database in
            // Also when COMMIT is prepared.
            for _ in 0..<3 {
                await expectRolledBack {
                    try await database.withTransaction(for: "swallows") { lease in
                        try await lease.keep(1)
                        _ = await lease.failure(of: "SELECT 1 / 0")
                    }
                }
            }
            #expect(try await database.kept() == [])
            try await database.withTransaction(for: "well") { try await $0.keep(2) }
            #expect(try await database.kept() == [2])
        }
    }

    @Test(arguments: ["COMMIT", "end", "/* ROLLBACK? */ COMMIT AND CHAIN", "PREPARE TRANSACTION 'rollback'"])
    func `D2: a COMMIT of one's own says so, too`(commit: String) async throws {
        try await withTable { database in
            try await database.withConnection(for: "own") { lease in
                for isScript in [false, true] {
                    try await lease.execute("BEGIN")
                    try await lease.keep(1)
                    _ = await lease.failure(of: "SELECT 1 / 0")
                    let error = isScript ? await lease.failure(ofScript: commit) : await lease.failure(of: SQL(unescaped: commit))
                    if case .transactionRolledBack = error {} else { Issue.record("told: \(String(describing: error))") }
                    try await lease.execute("ROLLBACK")
                }
                // What was asked for is no error.
                for text in ["ROLLBACK", "ABORT", "ROLLBACK /* of what failed */ WORK"] {
                    try await lease.execute("BEGIN")
                    _ = await lease.failure(of: "SELECT 1 / 0")
                    try await lease.execute(SQL(unescaped: text))
                    try await lease.script("BEGIN; SELECT 1; \(text)")
                }
            }
            #expect(try await database.kept() == [])
        }
    }

    @Test func `D2: a transaction in a transaction is a savepoint: the outermost commits, and each keeps or undoes its own`() async throws {
        struct Own: Error {}
        try await withTable { database in
            try await database.withTransaction(for: "outer") { lease in
                try await lease.keep(1)
                try await lease.transaction { try await $0.keep(2) }
                try? await lease.transaction { lease in
                    try await lease.keep(3)
                    throw Own()
                }
                // A statement that failed takes its own transaction with it, and no other.
                try? await lease.transaction { try await $0.keep(1) }
                do {
                    try await lease.transaction { lease in
                        try await lease.keep(4)
                        try? await lease.transaction { try await $0.keep(2) }
                        _ = await lease.failure(of: "SELECT 1 / 0")
                    }
                    Issue.record("said to be kept")
                } catch PostgresError.transactionRolledBack {}
                try await lease.keep(5)
            }
            #expect(try await database.kept() == [1, 2, 5])
            // Nothing was committed early.
            await #expect(throws: Own.self) {
                try await database.withTransaction(for: "outer") { lease in
                    try await lease.transaction { try await $0.keep(6) }
                    throw Own()
                }
            }
            #expect(try await database.kept() == [1, 2, 5])
            // The same inside a transaction that the caller began by hand.
            try await database.withConnection(for: "own") { lease in
                try await lease.execute("BEGIN")
                try await lease.transaction { try await $0.keep(7) }
                try await lease.execute("ROLLBACK")
            }
            #expect(try await database.kept() == [1, 2, 5])
        }
    }

    @Test(arguments: [("COMMIT", [1]), ("ROLLBACK", [])], [false, true])
    func `D2: a body that ends its transaction itself is told so, and not that nothing was done`(end: (text: String, keeps: [Int]), isNested: Bool) async throws {
        try await withTable { database in
            do {
                try await database.withTransaction(for: "ends") { lease in
                    try await lease.keep(1)
                    if isNested {
                        try await lease.transaction { _ = try await $0.execute(SQL(unescaped: end.text)) }
                    } else {
                        try await lease.execute(SQL(unescaped: end.text))
                    }
                }
                Issue.record("said to be committed")
            } catch {
                if case PostgresError.unsupported = error {} else { Issue.record("told: \(error)") }
                #expect(mayHaveTakenEffect(error))
                #expect(!TaskRun.isTransient(error))
            }
            let left = try await database.kept()
            #expect(left == end.keeps)
        }
    }

    @Test func `a body that goes on without its connection, or beside what it has given up, is told that`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(20)), server.endpoint, logger: .quiet) { database in
            do {
                try await database.withTransaction(for: "lost") { lease in
                    try await server.superuserScript("SELECT pg_terminate_backend(\(lease.backendPID))")
                    // The first may still hear the server's own word, the second finds it gone.
                    for _ in 0..<2 { _ = try? await lease.execute("SELECT 1") }
                }
                Issue.record("said to be committed")
            } catch {
                if case PostgresError.connectionLost = error {} else { Issue.record("told: \(error)") }
            }
            do {
                try await database.withTransaction(for: "slow", within: .milliseconds(200)) { lease in
                    _ = try? await lease.execute("SELECT pg_sleep(600)")
                }
                Issue.record("said to be committed")
            } catch {
                if case PostgresError.unsupported = error { Issue.record("told: \(error)") }
            }
        }
    }

    @Test func `D2: what could not be rolled back is never committed`() async throws {
        try await withTable { database in
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    await expectRolledBack {
                        try await database.withTransaction(for: "cancelled") { lease in
                            try await lease.keep(1)
                            // Its own end cannot be sent any more.
                            try? await lease.transaction { lease in
                                try await lease.keep(2)
                                withUnsafeCurrentTask { $0?.cancel() }
                                try await lease.keep(3)
                            }
                        }
                    }
                }
            }
            let left = try await database.kept()
            #expect(left == [])
        }
    }

    @Test func `D2: notices and warnings of the server reach the log, each text once`() async throws {
        let lines = LogLines()
        try await withTable(lines.logger) { database in
            for number in 0..<3 {
                try await database.withConnection(for: "warned") { lease in
                    try await lease.script("DO $$ BEGIN RAISE WARNING 'row % is odd', \(number); RAISE NOTICE 'by the way'; END $$")
                    try await lease.execute("ROLLBACK")
                }
            }
        }
        let told = lines.all.filter { $0.contains("notice from the database") }
        #expect(told.count == 3, "\(told)")
        #expect(told.contains("warning notice from the database notice=row 0 is odd sqlstate=01000"))
        #expect(told.contains("info notice from the database notice=by the way sqlstate=00000"))
        #expect(told.contains { $0.hasPrefix("warning") && $0.contains("25P01") })
    }

    @Test func `D2: notices without number fill neither the log nor memory`() async throws {
        let lines = LogLines()
        try await withTable(lines.logger) { database in
            for letter in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"] {
                try await database.withConnection(for: "noisy") { lease in
                    try await lease.script("DO $$ BEGIN FOR n IN 1..10000 LOOP RAISE NOTICE '%', '\(letter)' || md5(n::text); END LOOP; END $$")
                }
            }
        }
        #expect(lines.all.filter { $0.contains("notice from the database") }.count <= NoticeLog.limit)
    }
}
