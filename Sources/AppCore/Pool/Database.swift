import Vitals

/// The application's way to PostgreSQL: a purpose, a deadline, a connection for as long as a closure runs.
public struct Database: Sendable {
    public let pool: Pool
    /// In nanoseconds: the time of a caller that gives no budget.
    private let deadline: Int64

    public init(pool: Pool) {
        self.pool = pool
        deadline = pool.configuration.deadline.nanoseconds
    }

    /// Runs `body` with a connection of its own.
    ///
    /// The deadline is the earlier of the task's own (`Deadline.current`) and `budget` from now; without a budget it is the pool's. It covers
    /// the wait and all statements. A statement that is under way at the deadline is cancelled after the caller was told.
    ///
    /// - Throws: `PoolError` when there is no connection, `PostgresError` from statements, whatever `body` throws.
    public func withConnection<Result: Sendable>(
        for purpose: Purpose, within budget: Duration? = nil, file: StaticString = #fileID, line: UInt = #line,
        _ body: (inout Lease) async throws -> Result
    ) async throws -> Result {
        let caller = caller(purpose, budget, file, line)
        return try await pool.withConnection(caller, asking: caller.since, body)
    }

    /// The same, inside a transaction that is committed when `body` returns and rolled back when it throws.
    public func withTransaction<Result: Sendable>(
        for purpose: Purpose, within budget: Duration? = nil, file: StaticString = #fileID, line: UInt = #line,
        _ body: (inout Lease) async throws -> Result
    ) async throws -> Result {
        try await withConnection(for: purpose, within: budget, file: file, line: line) { try await $0.transaction(body) }
    }

    /// Runs one statement on a connection that the caller does not see. It runs again when the server undid it because of another transaction.
    ///
    /// Short reads of concurrent callers share a round trip (`BatchPlan` says which); all others run on a connection of their own.
    public func query(
        _ sql: SQL, for purpose: Purpose, within budget: Duration? = nil, file: StaticString = #fileID, line: UInt = #line
    ) async throws -> Rows {
        let caller = caller(purpose, budget, file, line)
        do {
            guard pool.configuration.batching, sql.operation == .select else {
                return try await pool.withConnection(caller, asking: caller.since) { try await $0.query(sql) }
            }
            switch await pool.batcher.ride(sql, caller, of: pool) {
            case .rows(let rows): return rows
            case .failure(let error): throw error
            case .alone: break
            }
            // Its time in a batch is over. The wait for a lease of its own begins here.
            return try await pool.withConnection(caller, asking: .now()) { lease in
                let began = MonotonicInstant.now()
                let rows = try await lease.query(sql)
                pool.batcher.ranAlone(sql, took: .now() - began)
                return rows
            }
        } catch let error as PostgresError where error.meaning == .conflict && sql.operation.staysInItsTransaction {
            return try await again(sql, caller, after: error)
        }
    }

    /// - Returns: rows changed.
    @discardableResult
    public func execute(
        _ sql: SQL, for purpose: Purpose, within budget: Duration? = nil, file: StaticString = #fileID, line: UInt = #line
    ) async throws -> Int {
        try await query(sql, for: purpose, within: budget, file: file, line: line).affected
    }

    /// The server undid the statement because of another transaction (serialisation, deadlock). It had no effect, and it was the only statement
    /// of its transaction. So it runs again, as long as its caller has time.
    private func again(_ sql: SQL, _ caller: Caller, after error: PostgresError) async throws -> Rows {
        var error = error
        // Not the system's generator: it is an empty struct, and the thread sanitizer reports races on its address that are none.
        var generator = SplitMix64(seed: .random(in: 0 ... .max))
        for attempt in 1... {
            // Those that met must not meet again.
            let next = MonotonicInstant.now() + Self.afterConflict.delay(attempt: attempt, using: &generator)
            guard !caller.deadline.hasPassed(at: next) else { break }
            try await SystemTime().sleep(until: next)
            do {
                return try await pool.withConnection(caller, asking: .now()) { try await $0.query(sql) }
            } catch let conflict as PostgresError where conflict.meaning == .conflict {
                error = conflict
            }
        }
        throw error
    }

    private static let afterConflict = Backoff(base: .milliseconds(5), cap: .milliseconds(100))

    private func caller(_ purpose: Purpose, _ budget: Duration?, _ file: StaticString, _ line: UInt) -> Caller {
        let now = MonotonicInstant.now()
        let own = Deadline(now.advanced(byNanoseconds: budget?.nanoseconds ?? deadline))
        return Caller(
            purpose: purpose, workClass: Work.workClass, detail: Work.detail, site: CallSite(file: file, line: line), since: now,
            deadline: Deadline.current.map { min($0, own) } ?? own)
    }
}
