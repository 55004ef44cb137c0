public import Vitals

/// What one statement returned. Values are read from libpq's own memory, which lives as long as this.
public struct Rows: RandomAccessCollection, Sendable {
    let result: LibpqResult?

    /// Rows changed or returned, as the server counted them.
    public var affected: Int { result?.affectedRows ?? 0 }

    public var startIndex: Int { 0 }
    public var endIndex: Int { result?.rowCount ?? 0 }

    public subscript(position: Int) -> Row {
        guard let result else { preconditionFailure("no rows") }
        precondition(position >= 0 && position < result.rowCount, "row index out of range")
        return Row(result: result, index: position)
    }
}

/// One row; columns by name, in text form, decoded where they are read.
///
/// Every accessor throws `PostgresError.decoding` naming the column when it is missing, NULL where a value is needed, or malformed.
public struct Row: Sendable {
    let result: LibpqResult
    let index: Int

    public func optionalString(_ column: String) throws(PostgresError) -> String? {
        guard let field = result.column(named: column) else {
            throw .decoding(column: column, reason: "not in the result")
        }
        return result.text(row: index, column: field)
    }

    public func string(_ column: String) throws(PostgresError) -> String {
        guard let text = try optionalString(column) else { throw .decoding(column: column, reason: "is NULL") }
        return text
    }

    public func optionalInt(_ column: String) throws(PostgresError) -> Int? { try parse(column, "a whole number") { Int($0) } }
    public func int(_ column: String) throws(PostgresError) -> Int { try need(column, optionalInt(column)) }

    public func optionalDouble(_ column: String) throws(PostgresError) -> Double? { try parse(column, "a number") { Double($0) } }
    public func double(_ column: String) throws(PostgresError) -> Double { try need(column, optionalDouble(column)) }

    public func optionalBool(_ column: String) throws(PostgresError) -> Bool? {
        try parse(column, "a boolean") { $0 == "t" ? true : $0 == "f" ? false : nil }
    }
    public func bool(_ column: String) throws(PostgresError) -> Bool { try need(column, optionalBool(column)) }

    public func optionalTime(_ column: String) throws(PostgresError) -> WallTime? {
        try parse(column, "a timestamp with time zone") { WallTime(rfc3339: $0) }
    }
    public func time(_ column: String) throws(PostgresError) -> WallTime { try need(column, optionalTime(column)) }

    private func parse<Value>(_ column: String, _ expected: String, _ convert: (String) -> Value?) throws(PostgresError) -> Value? {
        guard let text = try optionalString(column) else { return nil }
        guard let value = convert(text) else { throw .decoding(column: column, reason: "is not \(expected)") }
        return value
    }

    private func need<Value>(_ column: String, _ value: Value?) throws(PostgresError) -> Value {
        guard let value else { throw .decoding(column: column, reason: "is NULL") }
        return value
    }
}
