/// The database's tables are not those this program was built for.
public enum SchemaError: Error, Sendable, Hashable, CustomStringConvertible {
    /// A statement named a table that is not there; `migration` is the file that makes it, nil when none of ours does.
    case missingTable(String, migration: String?)
    /// An applied file was changed afterwards.
    case changed(file: String, applied: String, present: String)
    /// The database has a migration this program does not know: a newer healthd was here.
    case unknown(file: String)
    /// An applied file is missing before a later one, or out of order.
    case outOfOrder(file: String, after: String)
    /// An index is there but not usable.
    case invalidIndex(String)
    /// Another process held the migration lock all the time.
    case locked(after: String)
    /// A file could not be applied; nothing of it remains.
    case failed(file: String, reason: String)

    public var description: String {
        switch self {
        case .missingTable(let table, let migration?): "table \"\(table)\" is missing: run \"healthd migrate up\" (\(migration))"
        case .missingTable(let table, nil): "table \"\(table)\" is missing, and no migration of this program makes it"
        case .changed(let file, let applied, let present):
            "migration \(file) was changed after it was applied: the database has sha256 \(applied), this program \(present); restore the file and put the change into a new one"
        case .unknown(let file): "the database has migration \(file), which this program does not know: it was migrated by a newer healthd"
        case .outOfOrder(let file, let after): "migration \(file) is not applied, but the later \(after) is"
        case .invalidIndex(let name): "index \"\(name)\" is missing or not valid: DROP INDEX and create it again as in its migration"
        case .locked(let after): "another process held the migration lock for \(after); is a migration still running?"
        case .failed(let file, let reason): "migration \(file) failed and was rolled back: \(reason)"
        }
    }

    /// Nil for any other error than an undefined table (SQLSTATE 42P01).
    public init?(_ error: any Error, migrations: [Migration] = Migration.embedded) {
        guard case PostgresError.server(let server) = error, server.sqlState == "42P01" else { return nil }
        // The server names it in the message alone, between the quotation marks of its language: relation "agent_tasks" does not exist.
        let parts = server.message.split(omittingEmptySubsequences: false) { QuotedValues.marks.contains($0) }
        let name = (parts.count > 1 ? parts[1] : "?").drop { $0.isWhitespace }.prefix { !$0.isWhitespace }
        let table = String(name.split(separator: ".").last ?? name)
        self = .missingTable(table, migration: migrations.first { $0.tables.contains(table) }?.name)
    }
}

/// Runs `body`; an undefined table in it becomes the error that names the migration to run.
func namingMigrations<Result>(_ body: () async throws -> Result) async throws -> Result {
    do {
        return try await body()
    } catch {
        throw SchemaError(error) ?? error
    }
}
