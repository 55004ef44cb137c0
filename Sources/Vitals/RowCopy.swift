import GRDB

/// Copies the rows of one store to another: of tables and columns that both have, in the order of the tables' making. Each
/// table needs a primary key, by which a row is known to be there already.
enum RowCopy {
    /// Rows that are there already stay as they are. A damaged table is read from both its ends.
    ///
    /// - Returns: whether anything could be read.
    /// - Throws: when `target` cannot be written to.
    @discardableResult
    static func copy(from source: DatabaseQueue, into target: DatabaseQueue) throws -> Bool {
        try source.read { source in
            try target.write { target in
                var isReadable = false
                for table in try tables(of: target) {
                    // One that cannot be read, or is not there, keeps none of the others.
                    guard let columns = try? common(table, source, target), !columns.isEmpty else { continue }
                    isReadable = true
                    if try rows(of: table, columns, "ASC", from: source, into: target) { continue }
                    _ = try rows(of: table, columns, "DESC", from: source, into: target)
                }
                return isReadable
            }
        }
    }

    /// All rows, or an error.
    static func copyWhole(from source: DatabaseQueue, into target: DatabaseQueue) throws {
        try source.read { source in
            try target.write { target in
                for table in try tables(of: target) {
                    let isWhole = try rows(of: table, try common(table, source, target), "ASC", from: source, into: target)
                    guard isWhole else { throw LocalFile.Unusable("its table \(table) cannot be read to the end; is the disk well?") }
                }
            }
        }
    }

    /// In one transaction: afterwards `target` has the rows of `source` and no others.
    static func replaceAll(in target: DatabaseQueue, by source: DatabaseQueue) throws {
        try source.read { source in
            try target.write { target in
                let all = try tables(of: target)
                try removeAll(of: target)
                for table in all {
                    _ = try rows(of: table, try common(table, source, target), "ASC", from: source, into: target)
                }
            }
        }
    }

    /// The number that was given last to a row, by table, of tables that give each number once.
    static func numbers(in store: DatabaseQueue) throws -> [String: Int64] {
        try store.read { database in
            guard try Bool.fetchOne(database, sql: "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence')") == true else { return [:] }
            let rows = try Row.fetchAll(database, sql: "SELECT name, seq FROM sqlite_sequence")
            return Dictionary(rows.map { ($0["name"] as String, $0["seq"] as Int64) }) { max($0, $1) }
        }
    }

    /// From here on two stores with the same rows give the same numbers.
    static func setNumbers(_ numbers: [String: Int64], in store: DatabaseQueue) throws {
        guard !numbers.isEmpty else { return }
        try store.write { database in
            for (table, number) in numbers {
                try database.execute(sql: "DELETE FROM sqlite_sequence WHERE name = ?", arguments: [table])
                try database.execute(sql: "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", arguments: [table, number])
            }
        }
    }

    /// All rows go; the numbers that were given to them are not given again.
    static func removeAll(of store: DatabaseQueue) throws { try store.write { try removeAll(of: $0) } }

    private static func removeAll(of database: Database) throws {
        for table in try tables(of: database).reversed() { try database.execute(sql: "DELETE FROM \(table.quotedDatabaseIdentifier)") }
    }

    static func tables(of store: DatabaseQueue) throws -> Set<String> { Set(try store.read { try tables(of: $0) }) }

    private static func tables(of database: Database) throws -> [String] {
        try String.fetchAll(
            database,
            sql: "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE 'grdb%' ORDER BY rowid")
    }

    private static func common(_ table: String, _ source: Database, _ target: Database) throws -> [String] {
        let there = Set(try source.columns(in: table).map(\.name))
        return try target.columns(in: table).map(\.name).filter(there.contains)
    }

    /// - Returns: whether the source could be read to its end.
    private static func rows(
        of table: String, _ columns: [String], _ order: String, from source: Database, into target: Database
    ) throws -> Bool {
        let names = columns.map(\.quotedDatabaseIdentifier).joined(separator: ", ")
        let places = columns.map { _ in "?" }.joined(separator: ", ")
        let insert = try target.makeStatement(
            sql: "INSERT OR IGNORE INTO \(table.quotedDatabaseIdentifier) (\(names)) VALUES (\(places))")
        guard
            let cursor = try? Row.fetchCursor(
                source, sql: "SELECT \(names) FROM \(table.quotedDatabaseIdentifier) ORDER BY rowid \(order)")
        else { return false }
        while true {
            let row: Row?
            do { row = try cursor.next() } catch { return false }
            guard let row else { return true }
            do {
                try insert.execute(arguments: StatementArguments(row.databaseValues))
            } catch let error as DatabaseError where error.resultCode == .SQLITE_CONSTRAINT {
                // It belongs to a row that could not be read.
            }
        }
    }
}
