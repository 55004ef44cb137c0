import Vitals

/// How a row of one table is told as JSON: which column is which member, and in which form.
///
/// A value goes from the server's answer into the bytes that are sent, and is held nowhere between. What this program cannot read, a number
/// beyond 2^63 or a value nested deeper than it reads, is passed on as it is.
struct RowDocument: Sendable {
    enum Form: Sendable {
        /// Left out when it is NaN or infinite, for which JSON has no word.
        case number
        case time
        /// A text that is short: an identity, one of a closed set of words.
        case word
        /// Of any length.
        case text
        case json
    }

    struct Member: Sendable {
        var name: String
        var column: String
        var form: Form

        /// Where it stands, with how many bytes, when it is left out.
        var isBounded: Bool { form == .text || form == .json }
    }

    /// How much of a row is told.
    enum Values: Int {
        /// In an overview of many things.
        case brief = 32_768
        /// Wherever a row is asked for. A body that is accepted is smaller, as PostgreSQL writes it, unless it is full of exponents.
        case full = 2_097_152
    }

    let table: String
    /// In order of their names.
    let members: [Member]
    /// `select` of the table itself, made once: each read asks with one of them.
    private let brief: String
    private let full: String

    init(_ table: String, _ members: [Member]) {
        self.table = table
        self.members = members
        brief = Self.select(members, values: .brief, from: table)
        full = Self.select(members, values: .full, from: table)
    }

    // MARK: Asking

    /// `SELECT … FROM table t …`, for a WHERE to follow: texts and JSON longer than `values` are NULL, and told by their lengths.
    func select(values: Values) -> String {
        switch values {
        case .brief: brief
        case .full: full
        }
    }

    /// The same of rows with all columns of the table, such as a WITH has them of an INSERT.
    func select(values: Values, from source: String) -> String { Self.select(members, values: values, from: source) }

    private static func select(_ members: [Member], values: Values, from source: String) -> String {
        let columns = members.map { member in
            guard member.isBounded else { return "t.\(member.column)" }
            let value = "v.\(member.column)"
            return "CASE WHEN octet_length(\(value)) <= \(values.rawValue) THEN \(value) END AS \(member.column), octet_length(\(value)) AS \(member.column)_bytes"
        }
        let bounded = members.filter(\.isBounded)
        let sizes = bounded.map { "least(coalesce(octet_length(v.\($0.column)), 0), \(values.rawValue))" } + ["\(members.count * 40)"]
        let texts = bounded.map { "t.\($0.column)::text AS \($0.column)" }
        // OFFSET 0: each value is turned into text once, and only of a row that is told.
        return """
            SELECT \(columns.joined(separator: ", ")), \(sizes.joined(separator: " + ")) AS row_bytes
            FROM \(source) t CROSS JOIN LATERAL (SELECT \(texts.joined(separator: ", ")) OFFSET 0) v
            """
    }

    /// The columns that `select` answers.
    func columns(of alias: String) -> String {
        members.map { $0.isBounded ? "\(alias).\($0.column), \(alias).\($0.column)_bytes" : "\(alias).\($0.column)" }.joined(separator: ", ")
    }

    // MARK: Telling

    /// Appends the row as one object. NULL is left out; what is too long, or no UTF-8, as well, and then stands in `omitted` with its length.
    func append(_ row: Row, to bytes: inout [UInt8]) throws(PostgresError) {
        var omitted: [(name: String, length: Int)] = []
        var separator = UInt8(ascii: "{")
        func begin(_ name: String) {
            bytes.append(separator)
            bytes += "\"\(name)\":".utf8
            separator = UInt8(ascii: ",")
        }
        for member in members {
            guard let length = try row.length(member.column) else {
                if member.isBounded, let length = try row.optionalInt("\(member.column)_bytes") { omitted.append((member.name, length)) }
                continue
            }
            switch member.form {
            case .json:
                let before = (bytes.count, separator)
                begin(member.name)
                if try !row.append(member.column, to: &bytes) {
                    bytes.removeLast(bytes.count - before.0)
                    separator = before.1
                    omitted.append((member.name, length))
                }
            case .number:
                let number = try row.string(member.column)
                guard number != "NaN", !number.hasSuffix("Infinity") else { continue }
                begin(member.name)
                bytes += number.utf8
            case .time:
                let text = try row.string(member.column)
                begin(member.name)
                JSONValue.appendQuoted(WallTime(rfc3339: text)?.rfc3339Exact ?? text, to: &bytes)
            case .word, .text:
                guard let text = try? row.string(member.column) else {
                    omitted.append((member.name, length))
                    continue
                }
                begin(member.name)
                JSONValue.appendQuoted(text, to: &bytes)
            }
        }
        if !omitted.isEmpty {
            begin("omitted")
            bytes += JSONValue.object(Dictionary(omitted.map { ($0.name, .integer($0.length)) }, uniquingKeysWith: { first, _ in first })).text.utf8
        }
        bytes += separator == UInt8(ascii: "{") ? "{}".utf8 : "}".utf8
    }

    /// About how many bytes `append` appends.
    func size(of row: Row) throws(PostgresError) -> Int {
        var size = 8
        for member in members { size += member.name.utf8.count + 8 + (try row.length(member.column) ?? 0) }
        return size
    }

    func told(_ row: Row) throws(PostgresError) -> JSONDocument {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(try size(of: row))
        try append(row, to: &bytes)
        return JSONDocument(bytes)
    }
}

extension RowDocument.Member {
    static func number(_ name: String, _ column: String) -> Self { Self(name: name, column: column, form: .number) }
    static func time(_ name: String, _ column: String) -> Self { Self(name: name, column: column, form: .time) }
    static func word(_ name: String, _ column: String) -> Self { Self(name: name, column: column, form: .word) }
    static func text(_ name: String, _ column: String) -> Self { Self(name: name, column: column, form: .text) }
    static func json(_ name: String, _ column: String) -> Self { Self(name: name, column: column, form: .json) }
}

extension RowDocument {
    static let workspace = RowDocument(
        "workflows",
        [
            .time("createdAt", "created_at"), .number("id", "id"), .time("lastAccessedAt", "last_accessed_at"), .text("name", "name"),
            .word("status", "status"), .text("thesis", "thesis"), .word("ticker", "ticker"), .time("updatedAt", "updated_at"),
            .word("userId", "user_id"), .number("version", "version"),
        ])
    static let snapshot = RowDocument(
        "workspace_data_snapshots",
        [
            .time("createdAt", "created_at"), .number("id", "id"), .json("payload", "payload"), .text("type", "snapshot_type"),
            .number("workspaceId", "workspace_id"),
        ])
    static let auditLog = RowDocument(
        "ai_audit_logs",
        [
            .text("action", "action"), .time("createdAt", "created_at"), .json("details", "details"), .number("id", "id"),
            .text("summary", "summary"), .word("taskId", "task_id"), .number("workspaceId", "workspace_id"),
        ])
    static let marketDay = RowDocument(
        "market_snapshots",
        [
            .number("close", "close"), .word("date", "snapshot_date"), .number("high", "high"), .number("low", "low"), .number("open", "open"),
            .word("ticker", "ticker"), .number("volume", "volume"),
        ])
    static let task = RowDocument(
        "agent_tasks",
        [
            .number("attempt", "attempt"), .time("createdAt", "created_at"), .text("currentStep", "current_step"), .text("error", "error"),
            .number("eventSequence", "event_sequence"), .time("finishedAt", "finished_at"), .word("id", "id"), .json("params", "params"),
            .number("progress", "progress"), .time("queuedAt", "queued_at"), .word("requested", "requested"), .json("result", "result"),
            .time("startedAt", "started_at"), .word("state", "state"), .text("type", "type"), .time("updatedAt", "updated_at"),
            .number("workspaceId", "workspace_id"),
        ])
}
