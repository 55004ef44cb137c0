import Logging
import Synchronization
import TestServers
import Testing
import Vitals

@testable import AppCore

/// Runs `body` with a pool that is running, and ends both.
///
/// - Parameter threads: of its event loop; as many as a program has when nil.
func withPool<Result: Sendable>(
    _ configuration: PoolConfiguration, _ endpoint: PostgresEndpoint, threads: Int? = nil, logger: Logger = Logger(label: "test"),
    onPressure: @escaping @Sendable (PoolPressure) -> Void = { _ in }, onEvent: (@Sendable (PoolEvent) -> Void)? = nil,
    _ body: @Sendable (Database) async throws -> Result
) async throws -> Result {
    let loop = try EventLoop(threads: threads)
    defer { loop.shutdown() }
    let pool = Pool(configuration, endpoint: endpoint, loop: loop, logger: logger, onPressure: onPressure, onEvent: onEvent)
    return try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { await pool.run() }
        let result = try await body(Database(pool: pool))
        group.cancelAll()
        return result
    }
}

extension Database {
    /// Returns when so many connections lie idle.
    func untilIdle(_ count: Int) async throws {
        try await until("\(count) connections lie idle") { pool.statistics().idle >= count }
    }

    func untilLeased(_ count: Int) async throws {
        try await until("\(count) connections are leased") { pool.statistics().leased >= count }
    }

    func untilWaiting(_ count: Int) async throws {
        try await until("\(count) callers wait") { pool.statistics().waiting >= count }
    }

    func untilUnavailable() async throws {
        try await until("the database is known to be away") { pool.statistics().unavailable != nil }
    }
}

extension Lease {
    /// How a statement fails; that it does not is a failure of the test.
    mutating func failure(of sql: SQL, sourceLocation: SourceLocation = #_sourceLocation) async -> PostgresError? {
        do {
            _ = try await query(sql)
            Issue.record("did not fail: \(sql.text)", sourceLocation: sourceLocation)
            return nil
        } catch {
            return error
        }
    }

    mutating func failure(ofScript text: String, sourceLocation: SourceLocation = #_sourceLocation) async -> PostgresError? {
        do {
            try await script(text)
            Issue.record("did not fail: \(text)", sourceLocation: sourceLocation)
            return nil
        } catch {
            return error
        }
    }
}

extension [Duration] {
    /// The value below which this share of them lies. Of nothing at all it is none, and the test fails.
    func quantile(_ share: Double, sourceLocation: SourceLocation = #_sourceLocation) -> Duration {
        guard !isEmpty else {
            Issue.record("there is nothing of which to say the \(share) quantile", sourceLocation: sourceLocation)
            return .zero
        }
        let sorted = sorted()
        return sorted[Swift.min(sorted.count - 1, Int(Double(sorted.count) * share))]
    }
}

/// The longest of what several tasks measured.
final class Longest: Sendable {
    private let longest = Mutex(Duration.zero)

    func note(_ duration: Duration) { longest.withLock { $0 = max($0, duration) } }

    var duration: Duration { longest.withLock { $0 } }
}
