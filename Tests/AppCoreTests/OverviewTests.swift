import TestServers
import Testing
import Vitals

@testable import AppCore

/// What the first screen of a workspace says, and the history of its ticker.
@Suite("Overview")
struct OverviewTests {
    /// Days with these closes, of which the last is the newest.
    private func newestFirst(_ closes: [Double]) -> [MarketDay] {
        closes.enumerated().map { number, close in
            MarketDay(ticker: "ACME", date: "day \(number)", open: 1, high: 1, low: 1, close: close, volume: 1)
        }.reversed()
    }

    @Test func `a quarter is told by its newest day, and by changes since the day before it and since 21 days before it`() throws {
        // At rest, and then thirty days that climb by one each.
        let quarter = Array(repeating: 100.0, count: 34) + (1...30).map { 100 + Double($0) }
        let market = try #require(MarketSummary(newestFirst: newestFirst(quarter)))
        #expect(market.ticker == "ACME" && market.date == "day 63" && market.close == 130 && market.days == 64)
        #expect(market.dayChange == 130.0 / 129 - 1)
        #expect(market.monthChange == 130.0 / 109 - 1)
    }

    @Test func `fewer days say less`() throws {
        let three = try #require(MarketSummary(newestFirst: newestFirst([100, 110, 121])))
        #expect(three.dayChange == 121.0 / 110 - 1 && three.monthChange == 121.0 / 100 - 1 && three.volatility == nil)
        let one = try #require(MarketSummary(newestFirst: newestFirst([100])))
        #expect(one.close == 100 && one.dayChange == nil && one.monthChange == nil)
        #expect(MarketSummary(newestFirst: newestFirst(Array(repeating: 5, count: 19)))?.volatility == nil)
        #expect(MarketSummary(newestFirst: newestFirst(Array(repeating: 5, count: 20)))?.volatility == 0)
        #expect(MarketSummary(newestFirst: []) == nil)
    }

    private static func list(_ name: String, of document: JSONDocument) -> [JSONValue] {
        guard case .array(let items)? = JSONValue(text: String(decoding: document.bytes, as: UTF8.self))?[name] else { return [] }
        return items
    }

    @Test func `the newest of all there is, is told, in whatever order it came`() async throws {
        try await TestApplication.with(try await TestPostgres.start()) { application in
            let workspaces = application.workspaces
            let workspace = try await workspaces.create(NewWorkspace(name: "One", ticker: "ACME"))
            #expect(workspace.id == .first)
            try await application.database.withConnection(for: "test") { lease in
                // The newest is neither the first nor the last of its table.
                try await lease.script(
                    """
                    INSERT INTO workspace_data_snapshots (workspace_id, snapshot_type, payload, created_at)
                        SELECT 1, type, jsonb_build_object('n', n), '2026-01-01 00:00Z'::timestamptz + n * interval '1 day'
                        FROM unnest(ARRAY['a', 'b']) type, unnest(ARRAY[2, 3, 1]) n;
                    INSERT INTO ai_audit_logs (workspace_id, action, summary, created_at)
                        SELECT 1, 'a', n::text, '2026-01-01 00:00Z'::timestamptz + n * interval '1 day'
                        FROM (SELECT number * 5 % 12 + 1 AS n FROM generate_series(1, 12) number) numbers;
                    INSERT INTO market_snapshots (ticker, snapshot_date, open, high, low, close, volume)
                        SELECT 'ACME', '2026-01-01'::date + n, 1, n, 1, n, 1
                        FROM (SELECT number * 3 % 70 + 1 AS n FROM generate_series(1, 70) number) numbers
                    """)
            }
            let overview = try await workspaces.overview(workspace.id)
            #expect(Self.list("snapshots", of: overview).map { $0["payload"]?["n"]?.intValue } == [3, 3])
            #expect(Self.list("auditLogs", of: overview).compactMap { $0["summary"]?.stringValue } == (3...12).reversed().map { "\($0)" })
            let market = JSONValue(text: String(decoding: overview.bytes, as: UTF8.self))?["market"]
            #expect(market?["close"]?.doubleValue == 70 && market?["days"]?.intValue == 64)

            let history = try await workspaces.marketHistoryDocument("ACME", limit: 3)
            #expect(Self.list("days", of: history).map { $0["close"]?.doubleValue } == [70, 69, 68])
            #expect(try await workspaces.marketHistory("ACME", limit: 3).map(\.close) == [70, 69, 68])
        }
    }
}
