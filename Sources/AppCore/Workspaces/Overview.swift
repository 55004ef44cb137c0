/// All that the first screen of a workspace shows, read in one checkout.
public struct WorkspaceOverview: Sendable, Codable, Hashable {
    public var workspace: Workspace
    /// The newest snapshot of each type, by type.
    public var snapshots: [DataSnapshot]
    /// Newest first, at most 10.
    public var auditLogs: [AuditLog]
    /// Newest first, at most 10.
    public var tasks: [AgentTask]
    /// Nil while there is no market data for the ticker.
    public var market: MarketSummary?
}

/// A ticker's last quarter in five numbers.
public struct MarketSummary: Sendable, Codable, Hashable {
    public var ticker: String
    public var date: String
    public var close: Double
    /// Share of the previous close; nil with a single day. 0.01 is one percent up.
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
        dayChange = days.count > 1 ? last.close / days[1].close - 1 : nil
        monthChange = days.count > 1 ? last.close / days[min(21, days.count - 1)].close - 1 : nil
        volatility = days.count >= 20 ? Figures.annualisedVolatility(closes) : nil
        self.days = days.count
    }
}
