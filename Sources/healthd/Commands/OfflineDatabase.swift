import AppCore
import Logging
import Vitals

/// A database for one verb's work, apart from any running daemon: a small pool that lives as long as `body`.
func withOfflineDatabase<R: Sendable>(
    _ configuration: Configuration, connections: Int = 2, _ body: @Sendable (Database) async throws -> R
) async throws -> R {
    guard case .external(let keywords) = configuration.database else {
        throw CheckFailed("no database is configured; a private one is migrated and seeded by run --embedded itself")
    }
    var settings = configuration.pool
    settings.max = max(1, min(settings.max, connections))
    settings.min = min(1, settings.max)
    // Whole tables are written here; the deadline for a page's query does not fit.
    settings.deadline = .seconds(60)
    var logger = Logger(label: "database")
    logger.logLevel = .warning
    let loop = try EventLoop()
    defer { loop.shutdown() }
    let pool = Pool(settings, endpoint: keywords.endpoint, loop: loop, logger: logger)
    return try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { await pool.run() }
        defer { group.cancelAll() }
        return try await body(Database(pool: pool))
    }
}
