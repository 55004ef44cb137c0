import TestServers
import Testing
import Vitals

@testable import AppCore

/// COPY with rows of the client's: nothing here can give or take them.
@Suite("Copy")
struct CopyTests {
    /// How a statement gets to the server.
    enum Way: CaseIterable { case script, first, prepared, batch }

    private static let copies = [
        "COPY held FROM STDIN", "COPY held TO STDOUT", "COPY (SELECT repeat('x', 100) FROM generate_series(1, 3000000)) TO STDOUT",
    ]

    @Test(arguments: copies, Way.allCases)
    func `D1: a COPY is ended at once with an error that names it, and the pool serves again`(copy: String, way: Way) async throws {
        let server = try await TestPostgres.start()
        // One thread: whoever kept it would keep everybody.
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(20)), server.endpoint, threads: 1) { database in
            try await database.withConnection(for: "setup") { try await $0.script("CREATE TABLE held (n int); INSERT INTO held VALUES (1)") }
            let times = way == .prepared ? 3 : 1
            for _ in 0..<times {
                do {
                    try await database.withConnection(for: "copies") { lease in
                        switch way {
                        case .script: try await lease.script(copy)
                        case .first, .prepared: try await lease.execute(SQL(unescaped: copy))
                        case .batch: _ = try await lease.batch(["SELECT 1", SQL(unescaped: copy), "SELECT 2"])
                        }
                    }
                    Issue.record("a COPY was taken for done")
                } catch PostgresError.unsupported(let reason) {
                    #expect(reason.hasPrefix(copy.hasSuffix("STDIN") ? "COPY … FROM STDIN" : "COPY … TO STDOUT"))
                }
                #expect(try await database.query("SELECT count(*) AS n FROM held", for: "after").first?.int("n") == 1)
            }
            // In a batch the statements that follow would be taken for rows: there the connection goes.
            #expect(database.pool.statistics().opened == (way == .batch ? 2 : 1))
        }
    }

    @Test func `D1: a lease goes on after a COPY, and the text around a COPY FROM STDIN takes no effect`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(20)), server.endpoint) { database in
            try await database.withConnection(for: "copies") { lease in
                try await lease.script("CREATE TABLE held (n int)")
                _ = await lease.failure(ofScript: "CREATE TABLE before (); COPY held FROM STDIN; CREATE TABLE after ()")
                let left = try await lease.query("SELECT count(*) AS n FROM pg_tables WHERE tablename IN ('before', 'after')")
                #expect(try left.first?.int("n") == 0)
                _ = await lease.failure(ofScript: "COPY held TO STDOUT")
                #expect(try await lease.query("SELECT 7 AS n").first?.int("n") == 7)
            }
        }
    }

    @Test func `D1: in a transaction a COPY is an error like any other`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(20)), server.endpoint) { database in
            try await database.execute("CREATE TABLE held (n int)", for: "setup")
            for copy in Self.copies {
                await #expect(throws: PostgresError.self) {
                    try await database.withTransaction(for: "copies") { lease in
                        try await lease.execute("INSERT INTO held VALUES (1)")
                        try await lease.script(copy)
                    }
                }
            }
            #expect(try await database.query("SELECT count(*) AS n FROM held", for: "after").first?.int("n") == 0)
            #expect(database.pool.statistics().opened == 1)
        }
    }

    @Test func `D1: a connection of a watcher's own recovers as well`() async throws {
        let server = try await TestPostgres.start()
        let loop = try EventLoop()
        defer { loop.shutdown() }
        let connection = DedicatedConnection(endpoint: server.endpoint, applicationName: "test", loop: loop)
        defer { connection.close() }
        let later = Deadline(.now() + .seconds(30))
        for copy in Self.copies where !copy.contains("held") {
            await #expect(throws: PostgresError.self) { try await connection.script(copy, until: later) }
            #expect(try await connection.query("SELECT 7 AS n", until: later).first?.int("n") == 7)
        }
    }
}
