import Synchronization
import TestServers
import Testing
import Vitals

@testable import AppCore

/// Statements the server never gets.
@Suite("Unsent statements")
struct UnsentTests {
    private let later = Deadline(.now() + .seconds(30))

    @Test func `a parameter with a NUL is refused as the server would, and the connection goes on`() async throws {
        let server = try await TestPostgres.start()
        try await withConnection(server.endpoint) { connection in
            for _ in 0..<3 {
                let error = await #expect(throws: PostgresError.self) {
                    try await connection.query("SELECT \("left\0out") AS t", until: later)
                }
                #expect(error?.sqlState == "22021")
                await #expect(throws: PostgresError.self) {
                    try await connection.batch(["SELECT 1", "SELECT \("left\0out")"], until: later)
                }
            }
            #expect(connection.condition == .reusable)
            let rows = try await connection.query("SELECT \("whole")::text AS t", until: later)
            #expect(try rows.first?.string("t") == "whole")
        }
    }

    @Test func `a statement's own text with a NUL is not sent up to there`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(20)), server.endpoint) { database in
            try await database.withConnection(for: "cut off") { lease in
                try await lease.script("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1), (2)")
                let text = "DELETE FROM kept\0 WHERE n = 1"
                var errors = [await lease.failure(of: SQL(unescaped: text)), await lease.failure(ofScript: text)]
                do {
                    _ = try await lease.batch(["SELECT 1", SQL(unescaped: text)])
                } catch let error as PostgresError {
                    errors.append(error)
                }
                #expect(errors.map { $0?.sqlState } == ["22021", "22021", "22021"])
                #expect(try await lease.query("SELECT count(*) AS n FROM kept").first?.int("n") == 2)
            }
            // Where it could ride beside others, too.
            for _ in 0..<3 {
                let error = await #expect(throws: PostgresError.self) { try await database.query("SELECT 1 AS n\0, 2", for: "cut off") }
                #expect(error?.sqlState == "22021")
            }
            #expect(database.pool.statistics().opened == 1)
        }
    }

    @Test(arguments: [("", false), ("a", false), ("\0", true), ("é\0", true), (String(repeating: "é", count: 99), false)])
    func `a NUL is found wherever it stands`(text: String, hasOne: Bool) {
        #expect(text.hasZeroByte == hasOne)
        #expect(("SELECT \(text)" as SQL).hasZeroByte == hasOne && SQL(unescaped: text).hasZeroByte == hasOne)
    }

    @Test func `it costs those who would ride beside it nothing`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 2, deadline: .seconds(10)), server.endpoint) { database in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for caller in 0..<200 {
                    group.addTask {
                        let text = caller % 4 == 0 ? "\(caller)\0" : "\(caller)"
                        do {
                            let rows = try await database.query("SELECT \(text)::text AS t", for: "test")
                            #expect(try rows.first?.string("t") == text)
                        } catch let error as PostgresError {
                            #expect(caller % 4 == 0 && error.sqlState == "22021")
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(database.pool.statistics().opened <= 2)
        }
    }

    @Test func `a batch on a connection that is busy is not sent, and says so instead of answering`() async throws {
        let server = try await TestPostgres.start()
        try await withConnection(server.endpoint) { connection in
            let answers = Mutex(0)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { _ = try await connection.query("SELECT pg_sleep(0.2)", until: later) }
                try await until("the statement runs") { connection.condition == .needsRecovery }
                #expect(connection.send(["SELECT 1"], for: server) { _ in answers.withLock { $0 += 1 } } == false)
                try await group.waitForAll()
            }
            #expect(answers.withLock { $0 } == 0)
        }
    }

    /// When the thread that sends is held up for longer than a batch may take.
    @Test func `a batch that is not sent gives its connection back once, though it is being cancelled`() async throws {
        let server = try await TestPostgres.start()
        try await withConnection(server.endpoint) { connection in
            func batch() -> Batch { Batch([], on: PooledConnection(slot: 0, connection: connection), for: "test", sentAt: .now()) }
            #expect(batch().wasNotSent(), "nobody cancels it: whoever could not send it gives back")
            let slow = batch()
            #expect(slow.stalled() != nil)
            #expect(!slow.wasNotSent(), "whoever cancels it gives back")
            #expect(slow.cancellationEnded())
        }
    }

    /// Runs `body` in a task of its own that it may cancel.
    private func inTask(_ body: @escaping @Sendable () async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await body() }
            try await group.waitForAll()
        }
    }

    @Test func `D6: what was cancelled before it was sent is not sent, and gets no connection`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(5)), server.endpoint) { database in
            try await database.execute("CREATE TABLE effects (n int)", for: "setup")
            let insert: SQL = "INSERT INTO effects VALUES (1)"
            try await inTask {
                try await database.withConnection(for: "cancelled") { lease in
                    // Twice, so that it is prepared by then; and in a batch, a script, a transaction.
                    for _ in 0..<3 { try await lease.execute(insert) }
                    withUnsafeCurrentTask { $0?.cancel() }
                    for error in [await lease.failure(of: insert), await lease.failure(of: "SELECT pg_sleep(30)"), await lease.failure(ofScript: insert.text)] {
                        if case .cancelled = error {} else { Issue.record("told: \(String(describing: error))") }
                    }
                    do {
                        _ = try await lease.batch([insert, insert])
                        Issue.record("sent")
                    } catch PostgresError.cancelled {}
                    do {
                        _ = try await lease.transaction { try await $0.execute(insert) }
                        Issue.record("committed")
                    } catch PostgresError.cancelled {}
                }
                // And no lease either.
                for batching in [true, false] {
                    do {
                        if batching { _ = try await database.query("SELECT 1", for: "cancelled") } else { try await database.execute(insert, for: "cancelled") }
                        Issue.record("got a connection")
                    } catch PoolError.cancelled {}
                }
            }
            #expect(try await database.query("SELECT count(*) AS n FROM effects", for: "look").first?.int("n") == 3)
            #expect(database.pool.statistics().opened == 1)
            #expect(database.pool.statistics().acquire[.cancelled]?.count ?? 0 >= 1)
        }
    }

    @Test func `D6: a transaction whose caller is cancelled before its end is not committed`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(5)), server.endpoint) { database in
            try await database.execute("CREATE TABLE effects (n int)", for: "setup")
            try await inTask {
                do {
                    try await database.withTransaction(for: "cancelled") { lease in
                        try await lease.execute("INSERT INTO effects VALUES (1)")
                        withUnsafeCurrentTask { $0?.cancel() }
                    }
                    Issue.record("committed")
                } catch PostgresError.cancelled {}
            }
            #expect(try await database.query("SELECT count(*) AS n FROM effects", for: "look").first?.int("n") == 0)
            #expect(database.pool.statistics().opened == 1)
        }
    }

    @Test func `a cancel request that comes too late costs its connection, though the statement has ended by then`() async throws {
        let server = try await TestPostgres.start()
        try await withConnection(server.endpoint) { connection in
            await #expect(throws: PostgresError.self) {
                try await connection.query("SELECT pg_sleep(0.2)", until: Deadline(.now() + .milliseconds(50)))
            }
            server.freezePostmaster()
            defer { server.thaw() }
            // By its end nothing runs any more and no transaction is open: but the request would hit whoever is next.
            #expect(await connection.recover(until: Deadline(.now() + .seconds(1))) == false)
            #expect(!connection.isAbandoned)
            #expect(connection.condition == .lost(reason: "a cancel request is still on its way"))
        }
    }

    @Test func `a connection whose cancel request is still on its way goes to nobody else`() async throws {
        let server = try await TestPostgres.start()
        try await withConnection(server.endpoint) { connection in
            await #expect(throws: PostgresError.self) {
                try await connection.query("SELECT pg_sleep(0.5)", until: Deadline(.now() + .milliseconds(50)))
            }
            // Only the postmaster takes cancel requests; the backend goes on.
            server.freezePostmaster()
            defer { server.thaw() }
            #expect(await connection.recover(until: Deadline(.now() + .milliseconds(200))) == false)
            await connection.drained(until: later)
            #expect(connection.condition == .lost(reason: "a cancel request is still on its way"))
        }
    }
}
