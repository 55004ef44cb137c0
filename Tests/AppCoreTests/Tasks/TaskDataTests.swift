import TestServers
import Testing
import Vitals

@testable import AppCore

/// What the steps of a task read, and what they make of it: which rows, of whom, and in which order.
@Suite("What tasks read and find")
struct TaskDataTests {
    /// The first workspace's, with rows of a ticker and of two workspaces, none of which came in their order.
    private static func data(_ params: JSONValue = [:], _ body: @escaping @Sendable (TaskData) async throws -> Void) async throws {
        try await TaskScene.with { scene in
            let other = try await scene.application.workspaces.create(NewWorkspace(name: "Two", ticker: "ACME"))
            #expect(scene.workspace.rawValue == 1 && other.id.rawValue == 2)
            try await scene.application.database.withConnection(for: "test") { lease in
                try await lease.script(
                    """
                    INSERT INTO market_snapshots (ticker, snapshot_date, open, high, low, close, volume)
                        SELECT 'ACME', '2026-01-01'::date + n, 1, n, 1, 100 + n, 1 FROM (SELECT number * 7 % 30 + 1 AS n FROM generate_series(1, 30) number) days;
                    INSERT INTO financial_statements
                        (ticker, period_end, revenue, gross_profit, operating_income, net_income, total_assets, total_debt, shares)
                        SELECT 'ACME', '2023-03-31'::date + n * 91, n, 1, 1, 1, 1, 1, 1
                        FROM (SELECT number * 5 % 14 + 1 AS n FROM generate_series(1, 14) number) quarters;
                    INSERT INTO workspace_data_snapshots (workspace_id, snapshot_type, payload, created_at)
                        SELECT workspace, 'thesis-validation', jsonb_build_object('n', n), '2026-01-01 00:00Z'::timestamptz + n * interval '1 day'
                        FROM (VALUES (1, 2), (1, 3), (1, 1), (2, 9)) AS made (workspace, n)
                    """)
            }
            let task = AgentTask(id: AgentTask.sample().id, workspaceID: scene.workspace)
            try await body(TaskData(database: scene.application.database, task: task, parameters: try TaskParameters(params)))
        }
    }

    @Test("the last days of a ticker, oldest first")
    func days() async throws {
        try await Self.data(["days": 20]) { data in
            let days = try await data.days(of: "ACME")
            #expect(days.map(\.close) == (11...30).map { 100 + Double($0) })
            await #expect(throws: TaskFailure.self) { _ = try await data.days(of: "NVDA") }
        }
    }

    @Test("the last twelve statements, newest first")
    func statements() async throws {
        try await Self.data { data in
            let statements = try await data.statements(of: "ACME")
            #expect(statements.map(\.revenue) == (3...14).reversed().map { Double($0) })
        }
    }

    @Test("the newest snapshot of a type, and of the task's own workspace")
    func snapshot() async throws {
        try await Self.data { data in
            let (newest, none) = (try await data.latestSnapshot("thesis-validation"), try await data.latestSnapshot("risk-assessment"))
            #expect(newest?.payload == ["n": 3] && none == nil)
        }
    }

    // MARK: Steps

    /// What stands in the figures after a step that reads nothing itself.
    private static func figures(
        after name: String, of handler: any TaskHandler, _ prepare: @escaping @Sendable (inout TaskFindings) -> Void,
        _ look: @escaping @Sendable ([String: JSONValue]) -> Void
    ) async throws {
        try await data { data in
            var findings = TaskFindings()
            prepare(&findings)
            let step = try #require(handler.steps.first { $0.name == name })
            try await step.perform(data, &findings)
            look(findings.figures)
        }
    }

    private static func statement(revenue: Double, operatingIncome: Double = 1) -> FinancialStatement {
        FinancialStatement(
            periodEnd: "2026-09-30", revenue: revenue, grossProfit: 1, operatingIncome: operatingIncome, netIncome: 1, totalAssets: 1, totalDebt: 1, shares: 1)
    }

    @Test("growth of a year is that since the same quarter of the last, and that of a quarter since the one before")
    func growth() async throws {
        try await Self.figures(after: "measure-growth", of: EarningsAnalysis()) { findings in
            findings.statements = [120, 96, 80, 90, 100].map { Self.statement(revenue: $0) }
        } _: { figures in
            #expect(figures["revenueGrowthYear"] == 0.2 && figures["revenueGrowthQuarter"] == 0.25, "\(figures)")
        }
    }

    @Test("a margin that shrinks has changed by less than nothing")
    func margin() async throws {
        try await Self.figures(after: "measure-margins", of: EarningsAnalysis()) { findings in
            findings.statements = [Self.statement(revenue: 120, operatingIncome: 24), Self.statement(revenue: 110, operatingIncome: 33)]
        } _: { figures in
            #expect(figures["operatingMargin"] == 0.2 && figures["operatingMarginChange"] == -0.1, "\(figures)")
        }
    }

    @Test("one day in a hundred loses more than one in twenty")
    func losses() async throws {
        try await Self.figures(after: "measure-losses", of: RiskAssessment()) { findings in
            // A hundred days: four of -10 %, two of -5 %, and the rest without a change.
            var closes = [100.0]
            for day in 0..<100 { closes.append(closes[day] * (day < 4 ? 0.9 : day < 6 ? 0.95 : 1)) }
            findings.days = closes.map { MarketDay(ticker: "ACME", date: "2026-01-01", open: 1, high: 1, low: 1, close: $0, volume: 1) }
        } _: { figures in
            #expect(figures["valueAtRisk95"] == 0.05 && figures["valueAtRisk99"] == 0.1, "\(figures)")
        }
    }

    @Test("what speaks for a thesis is told apart from what speaks against it")
    func evidence() async throws {
        try await Self.figures(after: "weigh", of: ThesisValidation()) { findings in
            findings.figures = ["direction": "up", "trendYearly": 0.1, "changeQuarter": 0.2, "revenueGrowthYear": -0.1, "trendFit": 0.5]
        } _: { figures in
            #expect(figures["supporting"] == ["trendYearly", "changeQuarter"] && figures["against"] == ["revenueGrowthYear"], "\(figures)")
        }
    }
}
