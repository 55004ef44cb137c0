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
        switch result.text(row: index, column: try number(of: column)) {
        case .null: return nil
        case .text(let text): return text
        // A database without an encoding (SQL_ASCII) has bytes, and no text of ours says the same.
        case .notUTF8: throw .decoding(column: column, reason: "is not UTF-8")
        }
    }

    /// How many bytes the value has; nil when it is NULL.
    func length(_ column: String) throws(PostgresError) -> Int? {
        result.withBytes(row: index, column: try number(of: column)) { $0.count }
    }

    /// Appends the value as the server sent it, NULL not at all.
    ///
    /// - Returns: false for what is no UTF-8; nothing is appended then.
    func append(_ column: String, to bytes: inout [UInt8]) throws(PostgresError) -> Bool {
        result.withBytes(row: index, column: try number(of: column)) { value in
            guard value.allSatisfy({ $0 < 0x80 }) || String(validating: value, as: UTF8.self) != nil else { return false }
            bytes += value
            return true
        } ?? true
    }

    private func number(of column: String) throws(PostgresError) -> Int32 {
        guard let number = result.column(named: column) else { throw .decoding(column: column, reason: "not in the result") }
        return number
    }

    public func string(_ column: String) throws(PostgresError) -> String {
        guard let text = try optionalString(column) else { throw .decoding(column: column, reason: "is NULL") }
        return text
    }

    public func optionalInt(_ column: String) throws(PostgresError) -> Int? { try parse(column, "a whole number") { Int($0) } }
    public func int(_ column: String) throws(PostgresError) -> Int { try need(column, optionalInt(column)) }

    /// `NaN` and `Infinity` are no numbers to whom an answer goes: JSON has no word for them.
    public func optionalDouble(_ column: String) throws(PostgresError) -> Double? {
        try parse(column, "a finite number") { Double($0)?.ifFinite }
    }
    public func double(_ column: String) throws(PostgresError) -> Double { try need(column, optionalDouble(column)) }

    public func optionalBool(_ column: String) throws(PostgresError) -> Bool? {
        try parse(column, "a boolean") { $0 == "t" ? true : $0 == "f" ? false : nil }
    }
    public func bool(_ column: String) throws(PostgresError) -> Bool { try need(column, optionalBool(column)) }

    public func optionalTime(_ column: String) throws(PostgresError) -> WallTime? {
        try parse(column, "a timestamp with time zone") { WallTime(rfc3339: $0) }
    }
    /// A date as `2026-11-24`; not one of the infinite ones, nor one before the year 1 or after 9999.
    public func date(_ column: String) throws(PostgresError) -> String {
        let text = try string(column)
        guard text.utf8.count == 10, text.utf8.allSatisfy({ (0x30...0x39).contains($0) || $0 == UInt8(ascii: "-") }) else {
            throw .decoding(column: column, reason: "is not a date of the years 1 to 9999")
        }
        return text
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
