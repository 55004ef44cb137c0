import FoundationEssentials
import Vitals

/// All that the first screen of a workspace shows: the workspace, the newest snapshot of each type, the newest ten lines of its log and ten
/// tasks, and its ticker's last quarter in five numbers. `{"auditLogs":[…],"market":{…},"snapshots":[…],"tasks":[…],"workspace":{…}}`
///
/// None of the statements needs the rows of another, so they share a round trip. Of a text or JSON that is long the overview has the length
/// alone, in `omitted`: with fifty types of snapshots it would be fifty megabytes.
struct WorkspaceOverview {
    let document: JSONDocument
    /// The last visit was noted more than a minute ago, and the server takes writes.
    let isVisitToBeNoted: Bool

    /// - Parameters:
    ///   - answers: the rows of `statements(for:)`, in order.
    ///   - unreadable: told of days that cannot be counted with.
    /// - Throws: `RequestProblem.notFound`.
    init(_ id: Workspace.ID, _ answers: [Rows], _ unreadable: UnreadableRows) throws {
        guard let row = answers[0].first else { throw RequestProblem.notFound(what: "workspace \(id)") }
        let market = MarketSummary(newestFirst: answers[4].readable(of: "market_snapshots", unreadable, MarketDay.init))
        var bytes = Array("{\"auditLogs\":".utf8)
        try RowDocument.auditLog.append(all: answers[1], to: &bytes)
        if let market {
            let encoder = JSONEncoder()
            encoder.outputFormatting = .sortedKeys
            bytes += ",\"market\":".utf8
            bytes += try encoder.encode(market)
        }
        bytes += ",\"snapshots\":".utf8
        try RowDocument.snapshot.append(all: answers[2], to: &bytes)
        bytes += ",\"tasks\":".utf8
        try RowDocument.task.append(all: answers[3], to: &bytes)
        bytes += ",\"workspace\":".utf8
        try RowDocument.workspace.append(row, to: &bytes)
        bytes += "}".utf8
        document = JSONDocument(bytes, version: try row.int("version"))
        isVisitToBeNoted = try row.bool("is_visit_due")
    }

    static func statements(for id: Workspace.ID) -> [SQL] {
        [
            """
            SELECT \(unescaped: RowDocument.workspace.columns(of: "r")),
                r.last_accessed_at < now() - interval '1 minute' AND current_setting('transaction_read_only') = 'off' AS is_visit_due
            FROM (\(unescaped: RowDocument.workspace.select(values: .brief)) WHERE t.id = \(id)) r
            """,
            newest(.auditLog, of: id), latestSnapshots(of: id), newest(.task, of: id),
            """
            SELECT \(unescaped: MarketDay.columns) FROM market_snapshots WHERE ticker = (SELECT ticker FROM workflows WHERE id = \(id))
            ORDER BY snapshot_date DESC LIMIT \(unescaped: "\(MarketSummary.window)")
            """,
        ]
    }

    private static func newest(_ document: RowDocument, of id: Workspace.ID) -> SQL {
        """
        SELECT \(unescaped: document.columns(of: "r")) FROM (
            SELECT id FROM \(unescaped: document.table) WHERE workspace_id = \(id) ORDER BY created_at DESC, id DESC LIMIT 10) newest
        CROSS JOIN LATERAL (\(unescaped: document.select(values: .brief)) WHERE t.id = newest.id OFFSET 0) r
        ORDER BY r.created_at DESC, r.id DESC
        """
    }

    /// Steps from type to type along the index: a hot workspace has thousands of snapshots of few types.
    private static func latestSnapshots(of id: Workspace.ID) -> SQL {
        """
        WITH RECURSIVE types AS (
            (SELECT snapshot_type FROM workspace_data_snapshots WHERE workspace_id = \(id) ORDER BY snapshot_type LIMIT 1)
            UNION ALL
            SELECT (SELECT s.snapshot_type FROM workspace_data_snapshots s
                    WHERE s.workspace_id = \(id) AND s.snapshot_type > types.snapshot_type ORDER BY s.snapshot_type LIMIT 1)
            FROM types WHERE types.snapshot_type IS NOT NULL),
        latest AS MATERIALIZED (
            SELECT newest.id, types.snapshot_type FROM types CROSS JOIN LATERAL (
                SELECT s.id FROM workspace_data_snapshots s
                WHERE s.workspace_id = \(id) AND s.snapshot_type = types.snapshot_type ORDER BY s.created_at DESC, s.id DESC LIMIT 1) newest
            ORDER BY types.snapshot_type LIMIT 50)
        SELECT \(unescaped: RowDocument.snapshot.columns(of: "r")) FROM latest
        CROSS JOIN LATERAL (\(unescaped: RowDocument.snapshot.select(values: .brief)) WHERE t.id = latest.id OFFSET 0) r
        ORDER BY latest.snapshot_type
        """
    }
}

/// A ticker's last quarter in five numbers.
public struct MarketSummary: Sendable, Codable, Hashable {
    public var ticker: String
    public var date: String
    public var close: Double
    /// Share of the previous close; nil with a single day, and like the other two where closes are too far apart for a number. 0.01 is one percent up.
    public var dayChange: Double?
    /// Since 21 trading days ago, or the first day there is.
    public var monthChange: Double?
    /// Yearly standard deviation of the log returns of the last 63 days; nil below 20 days.
    public var volatility: Double?
    public var days: Int

    static let window = 64

    /// - Parameter newestFirst: days of one ticker; nil when there are none.
    init?(newestFirst days: [MarketDay]) {
        guard let last = days.first else { return nil }
        let closes = days.reversed().map(\.close)
        ticker = last.ticker
        date = last.date
        close = last.close
        dayChange = days.count > 1 ? (last.close / days[1].close - 1).ifFinite : nil
        monthChange = days.count > 1 ? (last.close / days[min(21, days.count - 1)].close - 1).ifFinite : nil
        volatility = days.count >= 20 ? Figures.annualisedVolatility(closes)?.ifFinite : nil
        self.days = days.count
    }
}
