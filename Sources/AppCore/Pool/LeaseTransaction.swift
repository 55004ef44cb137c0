extension Lease {
    /// Commits what `body` did, or rolls it back when `body` throws.
    ///
    /// Inside another transaction it is a savepoint: its own work is kept or undone, and the outermost transaction commits. After a statement has
    /// failed the server gives the transaction up, so a `body` that goes on has nothing to commit. Put what may fail into a transaction of its own.
    ///
    /// - Throws: what `body` throws; `PostgresError.transactionRolledBack` when `body` returns, but the server has rolled back;
    ///   `PostgresError.unsupported` when a statement of `body` has ended the transaction, as COMMIT and ROLLBACK do, even if another was begun at
    ///   once: part of the work may be committed. The error of the outermost `body` is thrown all the same when nothing of its work
    ///   can be committed.
    public mutating func transaction<Result>(_ body: (inout Lease) async throws -> Result) async throws -> Result {
        guard !isSpoilt else { throw PostgresError.notSent("a rollback on this lease has failed before, so that no transaction can begin on it any more") }
        return connection.isInTransaction ? try await savepoint(body) : try await outermost(body)
    }

    private mutating func outermost<Result>(_ body: (inout Lease) async throws -> Result) async throws -> Result {
        try await execute("BEGIN")
        let before = connection.transactionEnds
        let result: Result
        do {
            result = try await body(&self)
        } catch {
            let lasts = connection.transactionEnds.lasting > before.lasting
            await rollBack()
            if lasts { throw Self.endedInside(before: error) }
            throw error
        }
        guard connection.transactionEnds == before, !connection.isOutsideTransaction else {
            await rollBack()
            throw Self.endedInside()
        }
        guard !isSpoilt else { throw PostgresError.transactionRolledBack }
        try await execute("COMMIT")
        return result
    }

    private mutating func savepoint<Result>(_ body: (inout Lease) async throws -> Result) async throws -> Result {
        savepoints += 1
        let name = "healthd_\(savepoints)"
        try await execute("SAVEPOINT \(unescaped: name)")
        let before = connection.transactionEnds
        let result: Result
        do {
            result = try await body(&self)
        } catch {
            // The transaction around it is gone as well, with the savepoint.
            guard connection.transactionEnds == before else { throw Self.endedInside(before: error) }
            await rollBack(to: name)
            throw error
        }
        guard connection.transactionEnds == before, !connection.isOutsideTransaction else { throw Self.endedInside() }
        try await release(name)
        return result
    }

    /// Must not say that nothing took effect: the statement may have been a COMMIT.
    ///
    /// - Parameter error: what the body threw afterwards.
    private static func endedInside(before error: (any Error)? = nil) -> PostgresError {
        let then = error.map { "; after that its body failed: \($0)" } ?? ""
        return .unsupported("a statement inside the transaction has ended it: whether what was done before is committed is not known here\(then)")
    }

    /// If it fails, the pool recovers the connection.
    private mutating func rollBack() async {
        guard !connection.isOutsideTransaction else { return }
        do { try await execute("ROLLBACK") } catch { isSpoilt = true }
    }

    private mutating func release(_ savepoint: String) async throws(PostgresError) {
        do {
            try await execute("RELEASE SAVEPOINT \(unescaped: savepoint)")
        } catch {
            guard error.sqlState == "25P02" else { throw error }
            await rollBack(to: savepoint)
            throw .transactionRolledBack
        }
    }

    private mutating func rollBack(to savepoint: String) async {
        do { try await script("ROLLBACK TO SAVEPOINT \(savepoint); RELEASE SAVEPOINT \(savepoint)") } catch { isSpoilt = true }
    }
}
