public import Vitals

/// Fills an empty database with data like an application's: few users own most workspaces, few shares are in most of them, few
/// workspaces have most of the history. The same every time, but for the day it ends on.
public struct Seed: Sendable {
    public struct Progress: Sendable, Hashable {
        public var table: String
        /// Rows of all tables so far, of `total`.
        public var done: Int
        public var total: Int
    }

    public enum Outcome: Sendable, Hashable, CustomStringConvertible {
        case seeded(rows: Int)
        /// The data of a seed is there already; nothing was changed.
        case alreadySeeded(workspaces: Int)

        public var description: String {
            switch self {
            case .seeded(let rows): "\(rows) rows added"
            case .alreadySeeded(let workspaces): "already there, with \(workspaces) workspaces; nothing was changed"
            }
        }
    }

    private let database: Database
    private let scale: Scale
    private let end: WallTime
    private let progress: @Sendable (Progress) -> Void

    /// - Parameters:
    ///   - endingOn: the moment the data end at, now when nil. The last prices are of the weekday before its day (UTC), which has closed.
    ///   - progress: called after every batch.
    public init(
        database: Database, scale: Scale, endingOn end: WallTime? = nil, time: any TimeSource = SystemTime(),
        progress: @escaping @Sendable (Progress) -> Void = { _ in }
    ) {
        self.database = database
        self.scale = scale
        self.end = end ?? time.wallNow()
        self.progress = progress
    }

    private static let batch = 4_000
    private static let domain = "@seed.healthd.invalid"

    /// One transaction: interrupted, it leaves nothing.
    ///
    /// - Throws: `SchemaError` when the tables are not there; `PoolError`, `PostgresError`.
    public func run() async throws -> Outcome {
        let outcome = try await namingMigrations {
            try await database.withTransaction(for: "seed", within: .seconds(3_600)) { lease in
                // Two seeds at once: the second waits here and then finds the first one's data.
                try await lease.execute("LOCK TABLE workflow_users IN SHARE ROW EXCLUSIVE MODE")
                let present = try await lease.query(
                    "SELECT count(*) AS workspaces FROM workflow_users u JOIN workflows w ON w.user_id = u.id WHERE u.email LIKE \("%" + Self.domain)"
                ).first?.int("workspaces") ?? 0
                guard present == 0 else { return Outcome.alreadySeeded(workspaces: present) }
                return .seeded(rows: try await fill(&lease))
            }
        }
        if case .seeded = outcome {
            // Plans are made by statistics; without them the first hour looks like a missing index.
            for table in ["workflow_users", "workflows", "market_snapshots", "financial_statements", "workspace_data_snapshots", "ai_audit_logs"] {
                try await database.execute("ANALYZE \(unescaped: table)", for: "seed.analyze", within: .seconds(120))
            }
        }
        return outcome
    }

    private func fill(_ lease: inout Lease) async throws -> Int {
        var generator = SplitMix64(seed: 0x6865_616C_7468_6421)
        var done = 0
        let market = SeedMarket(count: scale.tickers, using: &generator)
        let users = (0..<scale.users).map { _ in WorkspaceUser.ID.random(using: &generator) }
        let workspaces = SeedWorkspaces(scale: scale, users: users, companies: market.companies, end: end, using: &generator)

        try await insert(count: users.count, into: "workflow_users", &done, &lease) { range in
            """
            INSERT INTO workflow_users (id, email, name) SELECT id, email, name FROM unnest(
                \(users[range].map(\.rawValue))::uuid[], \(range.map { "user\($0 + 1)\(Self.domain)" })::text[], \(range.map { "User \($0 + 1)" })::text[]
            ) AS u (id, email, name)
            """
        }
        try await beginNumbersAnew(&lease)
        var ids: [Workspace.ID] = []
        try await insert(count: workspaces.all.count, into: "workflows", &done, &lease) { range in
            workspaces.statement(range)
        } returned: { rows in
            // Numbers grow in the order of the entries; rows need not come back in it.
            ids += try rows.map { row in try Workspace.ID(row, "id") }.sorted()
        }
        try await insertMarket(market, &generator, &done, &lease)
        let history = SeedHistory(workspaces: workspaces.all, ids: ids, end: end)
        try await insert(count: scale.snapshots, into: "workspace_data_snapshots", &done, &lease) { range in
            history.snapshots(range, using: &generator)
        }
        try await insert(count: scale.auditLogs, into: "ai_audit_logs", &done, &lease) { range in history.auditLogs(range, using: &generator) }
        return done
    }

    /// Lets the first workspace of an empty table be number 1, also after a seed that was interrupted: its rows went, and the numbers it
    /// had taken did not come back.
    ///
    /// Waits for whoever is making a workspace now, and lets nobody else take a number until the seed is done.
    private func beginNumbersAnew(_ lease: inout Lease) async throws {
        guard try await lease.query("SELECT FROM workflows LIMIT 1").isEmpty else { return }
        try await lease.execute("ALTER SEQUENCE workflows_id_seq RESTART")
        // One that was made before we had the sequence to ourselves.
        try await lease.execute("SELECT setval('workflows_id_seq', max(id)) FROM workflows HAVING max(id) IS NOT NULL")
    }

    private func insertMarket(_ market: SeedMarket, _ generator: inout SplitMix64, _ done: inout Int, _ lease: inout Lease) async throws {
        let days = SeedMarket.tradingDays(scale.days, upTo: end + .seconds(-86_400))
        let quarters = SeedMarket.quarters(scale.quarters, upTo: end)
        for company in market.companies {
            let rows = SeedMarket.prices(of: company, days: days, using: &generator)
            try await insert(count: rows.count, into: "market_snapshots", &done, &lease) { range in
                let rows = rows[range]
                return """
                    INSERT INTO market_snapshots (ticker, snapshot_date, open, high, low, close, volume)
                    SELECT \(company.ticker)::text, day, open, high, low, close, volume FROM unnest(
                        \(rows.map(\.date))::date[], \(rows.map(\.open))::float8[], \(rows.map(\.high))::float8[], \(rows.map(\.low))::float8[],
                        \(rows.map(\.close))::float8[], \(rows.map(\.volume))::bigint[]) AS p (day, open, high, low, close, volume)
                    """
            }
            let statements = SeedMarket.statements(of: company, quarters: quarters, using: &generator)
            try await insert(count: statements.count, into: "financial_statements", &done, &lease) { range in
                let rows = statements[range]
                return """
                    INSERT INTO financial_statements
                        (ticker, period_end, revenue, gross_profit, operating_income, net_income, total_assets, total_debt, shares)
                    SELECT \(company.ticker)::text, day, revenue, gross_profit, operating_income, net_income, total_assets, total_debt, shares FROM unnest(
                        \(rows.map(\.periodEnd))::date[], \(rows.map(\.revenue))::float8[], \(rows.map(\.grossProfit))::float8[],
                        \(rows.map(\.operatingIncome))::float8[], \(rows.map(\.netIncome))::float8[], \(rows.map(\.totalAssets))::float8[],
                        \(rows.map(\.totalDebt))::float8[], \(rows.map(\.shares))::float8[]
                    ) AS s (day, revenue, gross_profit, operating_income, net_income, total_assets, total_debt, shares)
                    """
            }
        }
    }

    private func insert(
        count: Int, into table: String, _ done: inout Int, _ lease: inout Lease, _ statement: (Range<Int>) -> SQL,
        returned: (Rows) throws -> Void = { _ in }
    ) async throws {
        for start in stride(from: 0, to: count, by: Self.batch) {
            let range = start..<min(count, start + Self.batch)
            try returned(try await lease.query(statement(range)))
            done += range.count
            progress(Progress(table: table, done: done, total: scale.rows))
        }
    }
}
