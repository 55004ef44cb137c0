import Vitals

/// Where a page of a list begins: after the row that the page before it ended with. A client sends it as it got it.
public struct PageCursor: Sendable, Hashable, CustomStringConvertible {
    /// Of the column by which the list is ordered, in a form that PostgreSQL reads.
    let time: String
    let id: String

    init(time: String, id: String) {
        self.time = time
        self.id = id
    }

    /// From what a client sent.
    ///
    /// - Throws: `RequestProblem.invalid` naming `before`.
    public init(_ text: String) throws(RequestProblem) {
        let parts = text.split(separator: "~", omittingEmptySubsequences: false)
        guard parts.count == 2, parts.allSatisfy({ (1...40).contains($0.utf8.count) }), Self.isTime(parts[0]), Self.isID(parts[1]) else {
            throw Self.unknown(text)
        }
        self.init(time: String(parts[0]), id: String(parts[1]))
    }

    /// Made of what we or PostgreSQL write a time with. It reads more: names of time zones, `yesterday`.
    private static func isTime(_ text: Substring) -> Bool {
        if text == "infinity" || text == "-infinity" { return true }
        let digits = text.hasSuffix(" BC") ? text.dropLast(3) : text
        return !digits.isEmpty && digits.utf8.allSatisfy { (0x30...0x39).contains($0) || "-:.+ TZ".utf8.contains($0) }
    }

    /// A number or a UUID.
    private static func isID(_ text: Substring) -> Bool {
        text.utf8.allSatisfy { (0x30...0x39).contains($0) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0) || $0 == UInt8(ascii: "-") }
    }

    public var description: String { "\(time)~\(id)" }

    static func unknown(_ text: String) -> RequestProblem {
        .invalid(field: "before", reason: "is \"\(text.clipped)\"; expected what \"next\" was in the page before")
    }
}

/// The rows of one list, newest first, a page at a time: as many as fit into `bytes`, and one at least.
struct RowPage: Sendable {
    let document: RowDocument
    /// The timestamp by which the list is ordered.
    let order: String
    /// PostgreSQL's name for the type of `id`, and the greatest there is.
    let idType: String
    let lastID: String
    /// `document`'s, of the two names that the statement has for rows.
    private let columnsOfRow: String
    private let columnsOfTold: String

    /// A page ends with the row that brings it to this size.
    static let bytes = 1_048_576

    private init(_ document: RowDocument, orderedBy order: String, id type: String, lastID: String) {
        self.document = document
        self.order = order
        idType = type
        self.lastID = lastID
        columnsOfRow = document.columns(of: "r")
        columnsOfTold = document.columns(of: "told")
    }

    private static func numbered(_ document: RowDocument, orderedBy order: String = "created_at") -> RowPage {
        RowPage(document, orderedBy: order, id: "bigint", lastID: "\(Int.max)")
    }

    static let workspaces = numbered(.workspace, orderedBy: "last_accessed_at")
    static let snapshots = numbered(.snapshot)
    static let auditLogs = numbered(.auditLog)
    static let tasks = RowPage(.task, orderedBy: "created_at", id: "uuid", lastID: "ffffffff-ffff-ffff-ffff-ffffffffffff")

    /// A page of the rows that `condition` chooses.
    ///
    /// The list is made of identities alone. Then the server goes along it row by row, and stops when it has enough: the values of a row that
    /// is not on the page are not even read from the disk.
    func statement(where condition: SQL, limit: Int, before: PageCursor?) -> SQL {
        let start = before ?? PageCursor(time: "infinity", id: lastID)
        let select = document.select(values: .full)
        let list: SQL = """
            SELECT id, \(unescaped: order) FROM \(unescaped: document.table)
            WHERE \(fragment: condition) AND (\(unescaped: order), id) < (\(start.time)::timestamptz, \(start.id)::\(unescaped: idType))
            ORDER BY \(unescaped: order) DESC, id DESC LIMIT \(limit + 1)
            """
        return """
            WITH RECURSIVE listed AS MATERIALIZED (
                SELECT array_agg(id ORDER BY \(unescaped: order) DESC, id DESC) AS ids, \(limit)::int AS wanted FROM (\(fragment: list)) newest),
            told AS (
                SELECT 1 AS place, \(unescaped: columnsOfRow), r.row_bytes::bigint AS bytes
                FROM listed CROSS JOIN LATERAL (\(unescaped: select) WHERE t.id = listed.ids[1] OFFSET 0) r
                UNION ALL
                SELECT told.place + 1, \(unescaped: columnsOfRow), told.bytes + r.row_bytes
                FROM told CROSS JOIN listed CROSS JOIN LATERAL (\(unescaped: select) WHERE t.id = listed.ids[told.place + 1] OFFSET 0) r
                WHERE told.bytes < \(unescaped: "\(Self.bytes)") AND told.place < listed.wanted)
            SELECT \(unescaped: columnsOfTold), cardinality(listed.ids) AS listed
            FROM told CROSS JOIN listed ORDER BY told.place
            """
    }

    /// Asks for a page.
    ///
    /// - Throws: `RequestProblem.invalid` for a cursor that PostgreSQL cannot read.
    func rows(_ database: Database, where condition: SQL, limit: Int, before: PageCursor?, for purpose: Purpose) async throws -> Rows {
        try RequestProblem.limit(limit, in: 1...500)
        do {
            return try await namingMigrations {
                try await database.query(statement(where: condition, limit: limit, before: before), for: purpose)
            }
        } catch let error as PostgresError where error.sqlState.map({ Self.unreadable.contains($0) }) ?? false {
            guard let before else { throw error }
            throw PageCursor.unknown("\(before)")
        }
    }

    /// The same, of one workspace. Whether it is there its rows say, and where there are none, the database: no cache is believed here.
    ///
    /// - Throws: also `RequestProblem.notFound` for a workspace that does not exist.
    func rows(
        _ database: Database, of workspace: Workspace.ID, where condition: SQL = "TRUE", limit: Int, before: PageCursor?, for purpose: Purpose
    ) async throws -> Rows {
        let rows = try await self.rows(
            database, where: "workspace_id = \(workspace) AND \(fragment: condition)", limit: limit, before: before, for: purpose)
        if rows.isEmpty {
            let found = try await namingMigrations { try await database.query("SELECT FROM workflows WHERE id = \(workspace)", for: purpose) }
            if found.isEmpty { throw RequestProblem.notFound(what: "workspace \(workspace)") }
        }
        return rows
    }

    /// No number, no identity, no time, no such zone; one out of range. Source: PostgreSQL 15, appendix A.
    private static let unreadable: Set<String> = ["22P02", "22003", "22007", "22008", "22009", "22023"]

    /// The page as `{"NAME":[…],"next":"…"}`; `next` is there when there is more.
    func told(_ rows: Rows, as name: String) throws(PostgresError) -> JSONDocument {
        var bytes = Array("{\"\(name)\":".utf8)
        try document.append(all: rows, to: &bytes)
        if let last = rows.last, try last.int("listed") > rows.count {
            let time = try last.string(order)
            let cursor = PageCursor(time: WallTime(rfc3339: time)?.rfc3339Exact ?? time, id: try last.string("id"))
            bytes += ",\"next\":".utf8
            JSONValue.appendQuoted("\(cursor)", to: &bytes)
        }
        bytes += "}".utf8
        return JSONDocument(bytes)
    }
}

extension RowDocument {
    /// Appends rows as a list.
    func append(all rows: Rows, to bytes: inout [UInt8]) throws(PostgresError) {
        // At once: while bytes grow they are there twice.
        var length = 0
        for row in rows { length += try size(of: row) }
        bytes.reserveCapacity(bytes.count + length)
        bytes.append(UInt8(ascii: "["))
        var isFirst = true
        for row in rows {
            if !isFirst { bytes.append(UInt8(ascii: ",")) }
            isFirst = false
            try append(row, to: &bytes)
        }
        bytes.append(UInt8(ascii: "]"))
    }
}
