import AppCore
import TestServers

/// A private PostgreSQL, the pool of an application on it, and a loop for whoever watches them.
struct WatchedDatabase: Sendable {
    let server: TestPostgres
    let endpoint: PostgresEndpoint
    let pool: Pool
    let loop: EventLoop

    var database: Database { Database(pool: pool) }

    static func with(_ body: (WatchedDatabase) async throws -> Void) async throws {
        let server = try await TestPostgres.start()
        let loop = try EventLoop()
        defer { loop.shutdown() }
        let endpoint = PostgresEndpoint(keywords: ["host": server.socketDirectory, "user": "app", "dbname": "app"])
        let pool = Pool(PoolConfiguration(max: 3, deadline: .seconds(60)), endpoint: endpoint, loop: loop, logger: .quiet)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await pool.run() }
            defer { group.cancelAll() }
            try await body(WatchedDatabase(server: server, endpoint: endpoint, pool: pool, loop: loop))
        }
    }

    /// Runs `body` while a caller, `first`, holds a row in a transaction in which it does nothing more, and another, `second`, is on its way to that row.
    func whileOneWaits(_ body: () async throws -> Void) async throws {
        try await database.withConnection(for: "setup") { try await $0.script("CREATE TABLE rows (id int PRIMARY KEY, n int); INSERT INTO rows VALUES (1, 0)") }
        let (locked, lock) = AsyncStream.makeStream(of: Void.self)
        let (over, end) = AsyncStream.makeStream(of: Void.self)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await database.withTransaction(for: "first") { lease in
                    defer { lock.finish() }
                    try await lease.execute("UPDATE rows SET n = 1 WHERE id = 1")
                    lock.finish()
                    for await _ in over {}
                }
            }
            for await _ in locked {}
            group.addTask { _ = try? await database.execute("UPDATE rows SET n = 2 WHERE id = 1", for: "second") }
            defer {
                end.finish()
                group.cancelAll()
            }
            try await body()
        }
    }
}
