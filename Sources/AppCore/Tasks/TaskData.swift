import Vitals

/// What the steps of one task may read.
public struct TaskData: Sendable {
    /// For what the calls below do not read.
    public let database: Database
    public let task: AgentTask
    public let parameters: TaskParameters

    /// The workspace that the task is about, as it is now.
    public func workspace() async throws -> Workspace {
        let rows = try await database.query(
            "SELECT \(unescaped: Workspace.columns) FROM workflows WHERE id = \(task.workspaceID)", for: "task.workspace")
        guard let row = rows.first else { throw TaskFailure("workspace \(task.workspaceID) does not exist any more") }
        return try Workspace(row)
    }

    /// The last `parameters.days` trading days, oldest first.
    ///
    /// - Throws: `TaskFailure` below the number from which the figures mean something.
    public func days(of ticker: String) async throws -> [MarketDay] {
        let days = try await database.query(
            """
            SELECT \(unescaped: MarketDay.columns) FROM market_snapshots WHERE ticker = \(ticker)
            ORDER BY snapshot_date DESC LIMIT \(parameters.days)
            """, for: "task.market"
        ).map { row in try MarketDay(row) }
        guard days.count >= TaskParameters.minimumDays else {
            throw TaskFailure(
                "\(task.type) needs at least \(TaskParameters.minimumDays) market days of \(ticker), found \(days.count) in market_snapshots")
        }
        return days.reversed()
    }

    /// Newest first, at most 12.
    public func statements(of ticker: String) async throws -> [FinancialStatement] {
        try await database.query(
            """
            SELECT \(unescaped: FinancialStatement.columns) FROM financial_statements WHERE ticker = \(ticker)
            ORDER BY period_end DESC LIMIT 12
            """, for: "task.statements"
        ).map { row in try FinancialStatement(row) }
    }

    /// The newest snapshot of a type, if there is one.
    public func latestSnapshot(_ type: String) async throws -> DataSnapshot? {
        try await database.query(
            """
            SELECT \(unescaped: DataSnapshot.columns) FROM workspace_data_snapshots
            WHERE workspace_id = \(task.workspaceID) AND snapshot_type = \(type) ORDER BY created_at DESC LIMIT 1
            """, for: "task.snapshot"
        ).first.map { row in try DataSnapshot(row) }
    }
}

/// One quarter of one company: a row of `financial_statements`. Amounts in its currency.
public struct FinancialStatement: Sendable, Hashable {
    /// `2026-09-30`.
    public var periodEnd: String
    public var revenue: Double
    public var grossProfit: Double
    public var operatingIncome: Double
    public var netIncome: Double
    public var totalAssets: Double
    public var totalDebt: Double
    public var shares: Double

    static let columns = "period_end, revenue, gross_profit, operating_income, net_income, total_assets, total_debt, shares"
}

extension FinancialStatement {
    init(_ row: Row) throws(PostgresError) {
        self.init(
            periodEnd: try row.date("period_end"), revenue: try row.double("revenue"), grossProfit: try row.double("gross_profit"),
            operatingIncome: try row.double("operating_income"), netIncome: try row.double("net_income"),
            totalAssets: try row.double("total_assets"), totalDebt: try row.double("total_debt"), shares: try row.double("shares"))
    }
}
