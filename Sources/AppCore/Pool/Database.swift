public import Vitals

/// The application's way to PostgreSQL: a purpose, a deadline, a connection for as long as a closure runs.
public struct Database: Sendable {
    public let pool: Pool
    private let time: any TimeSource

    public init(pool: Pool, time: any TimeSource = SystemTime()) {
        self.pool = pool
        self.time = time
    }

    /// Runs `body` with a connection of its own.
    ///
    /// The deadline is the earlier of the task's own (`Deadline.current`) and `budget` from now, by default the pool's; it covers
    /// the wait, all statements and their cancellation.
    ///
    /// - Throws: `PoolError` when there is no connection in time, `PostgresError` from statements, whatever `body` throws.
    public func withConnection<Result: Sendable>(
        for purpose: Purpose, within budget: Duration? = nil, file: StaticString = #fileID, line: UInt = #line,
        _ body: (inout Lease) async throws -> Result
    ) async throws -> Result {
        try await pool.withConnection(
            for: purpose, until: time.deadline(within: budget ?? pool.configuration.deadline), site: CallSite(file: file, line: line), body)
    }

    /// The same, inside a transaction that is committed when `body` returns and rolled back when it throws.
    public func withTransaction<Result: Sendable>(
        for purpose: Purpose, within budget: Duration? = nil, file: StaticString = #fileID, line: UInt = #line,
        _ body: (inout Lease) async throws -> Result
    ) async throws -> Result {
        try await withConnection(for: purpose, within: budget, file: file, line: line) { try await $0.transaction(body) }
    }

    /// One statement on a connection of its own.
    public func query(
        _ sql: SQL, for purpose: Purpose, within budget: Duration? = nil, file: StaticString = #fileID, line: UInt = #line
    ) async throws -> Rows {
        try await withConnection(for: purpose, within: budget, file: file, line: line) { try await $0.query(sql) }
    }

    /// - Returns: rows changed.
    @discardableResult
    public func execute(
        _ sql: SQL, for purpose: Purpose, within budget: Duration? = nil, file: StaticString = #fileID, line: UInt = #line
    ) async throws -> Int {
        try await query(sql, for: purpose, within: budget, file: file, line: line).affected
    }
}
