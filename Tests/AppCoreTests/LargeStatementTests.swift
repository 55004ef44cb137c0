import Logging
import TestServers
import Testing
import Vitals

@testable import AppCore

struct `Large statements` {
    @Test func `a statement larger than the socket's buffer arrives, at its first use, when it is prepared, and after`() async throws {
        let server = try await TestPostgres.start()
        let loop = try EventLoop()
        defer { loop.shutdown() }
        let endpoint = PostgresEndpoint(keywords: ["host": server.socketDirectory, "user": "app", "dbname": "app"])
        let pool = Pool(PoolConfiguration(max: 1), endpoint: endpoint, loop: loop, logger: Logger(label: "test"))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await pool.run() }
            let text = String(repeating: "x", count: 4_000_000)
            for use in 1...3 {
                let rows = try await Database(pool: pool).query("SELECT length(\(text)) AS n", for: "test", within: .seconds(20))
                #expect(try rows.first?.int("n") == text.utf8.count, "use \(use)")
            }
            group.cancelAll()
        }
    }
}
