import Logging
import TestServers
import Testing

@testable import AppCore

/// A pool of one connection, and a table for what is kept. That the connection is the same all the time is part of the test.
func withTable(_ logger: Logger = .quiet, _ body: @Sendable (Database) async throws -> Void) async throws {
    let server = try await TestPostgres.start()
    try await withPool(PoolConfiguration(max: 1, deadline: .seconds(20)), server.endpoint, logger: logger) { database in
        try await database.execute("CREATE TABLE kept (n int PRIMARY KEY)", for: "setup")
        try await body(database)
        #expect(database.pool.statistics().opened == 1)
    }
}

extension Database {
    func kept() async throws -> [Int] {
        try await query("SELECT n FROM kept ORDER BY n", for: "look").map { row in try row.int("n") }
    }
}

extension Lease {
    mutating func keep(_ number: Int) async throws {
        try await execute("INSERT INTO kept VALUES (\(number))")
    }
}
