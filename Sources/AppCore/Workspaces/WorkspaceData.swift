public import Vitals

/// What was known about a workspace at one moment: a row of `workspace_data_snapshots`.
public struct DataSnapshot: Sendable, Hashable, Identifiable {
    public let id: Int
    public let workspaceID: Workspace.ID
    /// For example `risk-assessment`: what the payload is about.
    public let type: String
    public let payload: JSONValue
    public let createdAt: WallTime

    static let columns = "id, workspace_id, snapshot_type, payload, created_at"

    init(_ row: Row) throws(PostgresError) {
        id = try row.int("id")
        workspaceID = try Workspace.ID(row, "workspace_id")
        type = try row.string("snapshot_type")
        payload = try row.json("payload")
        createdAt = try row.time("created_at")
    }
}

/// A new snapshot as a client sent it: its payload goes to the database as it was written.
public struct SentDataSnapshot: Sendable, Hashable {
    public let type: String
    public let payload: RawJSON

    private struct Head: Decodable {
        var type: String
    }

    /// - Throws: `RequestProblem.invalid` naming the field.
    public init(body: some Sequence<UInt8>) throws(RequestProblem) {
        let (value, payload) = try JSONValue.body(Array(body), unread: "payload")
        type = try RequestProblem.decode(Head.self, from: value).type
        guard let payload else { throw .invalid(field: "payload", reason: "is missing") }
        self.payload = payload
        try RequestProblem.text(type, field: "type", limit: 100)
    }
}

/// One trading day of one ticker: a row of `market_snapshots`.
public struct MarketDay: Sendable, Codable, Hashable {
    public var ticker: String
    /// `2026-11-24`.
    public var date: String
    public var open: Double
    public var high: Double
    public var low: Double
    public var close: Double
    public var volume: Int

    static let columns = "ticker, snapshot_date, open, high, low, close, volume"
}

extension MarketDay {
    init(_ row: Row) throws(PostgresError) {
        self.init(
            ticker: try row.string("ticker"), date: try row.date("snapshot_date"), open: try row.double("open"),
            high: try row.double("high"), low: try row.double("low"), close: try row.double("close"), volume: try row.int("volume"))
    }
}
