import Logging
import Synchronization
import TestServers
import Testing
import Vitals

@testable import AppCore

/// What a seed leaves in a real database.
@Suite("Seed")
struct SeedTests {
    /// A Friday, 15 January 2027, 08:00 UTC.
    private static let friday = WallTime(secondsSince1970: 1_800_000_000)

    /// Runs `body` with a migrated database of its own.
    private func withDatabase<Result: Sendable>(
        migrated: Bool = true, on server: TestPostgres, _ body: @Sendable (Database) async throws -> Result
    ) async throws -> Result {
        let name = try #require(try await server.makeDatabase().firstMatch(of: /test_[0-9]+/)).output
        let endpoint = PostgresEndpoint(keywords: ["host": server.socketDirectory, "user": "app", "dbname": String(name)])
        let loop = try EventLoop()
        defer { loop.shutdown() }
        let pool = Pool(PoolConfiguration(max: 4), endpoint: endpoint, loop: loop, logger: Logger(label: "test"))
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await pool.run() }
            let database = Database(pool: pool)
            if migrated { try await Migrator(database: database).up() }
            let result = try await body(database)
            group.cancelAll()
            return result
        }
    }

    private func plant(
        _ database: Database, _ scale: Seed.Scale = .small, at time: WallTime = SeedTests.friday,
        progress: @escaping @Sendable (Seed.Progress) -> Void = { _ in }
    ) async throws -> Seed.Outcome {
        try await Seed(database: database, scale: scale, time: ManualTime(wall: time), progress: progress).run()
    }

    private func number(_ database: Database, _ sql: SQL) async throws -> Int {
        try await #require(database.query(sql, for: "test").first).int("n")
    }

    private static let tables = [
        "workflow_users": "id, email, name", "workflows": "id, user_id, name, ticker, status, thesis, created_at, last_accessed_at",
        "market_snapshots": "ticker, snapshot_date, open, high, low, close, volume",
        "financial_statements": "ticker, period_end, revenue, gross_profit, operating_income, net_income, total_assets, total_debt, shares",
        "workspace_data_snapshots": "workspace_id, snapshot_type, payload, created_at", "ai_audit_logs": "workspace_id, action, summary, created_at",
    ]

    /// A checksum of each table's planted columns, in an order of their own.
    private func checksums(_ database: Database) async throws -> [String: String] {
        var sums: [String: String] = [:]
        for (table, columns) in Self.tables {
            let rows = try await database.query(
                """
                SELECT md5(string_agg(line, E'\\n' ORDER BY line)) AS sum
                FROM (SELECT ROW(\(unescaped: columns))::text AS line FROM \(unescaped: table)) AS lines
                """, for: "test")
            sums[table] = try rows.first?.string("sum")
        }
        return sums
    }

    @Test func `small plants what it promises, all of it told as progress`() async throws {
        let server = try await TestPostgres.start()
        try await withDatabase(on: server) { database in
            let told = Mutex<[Seed.Progress]>([])
            let outcome = try await plant(database) { progress in told.withLock { $0.append(progress) } }
            let scale = Seed.Scale.small
            #expect(outcome == .seeded(rows: scale.rows))
            var total = 0
            for (table, count) in [
                ("workflow_users", scale.users), ("workflows", scale.workspaces), ("market_snapshots", scale.tickers * scale.days),
                ("financial_statements", scale.tickers * scale.quarters), ("workspace_data_snapshots", scale.snapshots),
                ("ai_audit_logs", scale.auditLogs),
            ] {
                #expect(try await number(database, "SELECT count(*) AS n FROM \(unescaped: table)") == count, "\(table)")
                total += count
            }
            #expect(total == scale.rows)
            let progress = told.withLock { $0 }
            #expect(progress.map(\.done) == progress.map(\.done).sorted())
            #expect(progress.allSatisfy { $0.total == scale.rows })
            #expect(progress.last?.done == scale.rows)
        }
    }

    @Test func `two empty databases get the same rows, ids too`() async throws {
        let server = try await TestPostgres.start()
        let first = try await withDatabase(on: server) { database in
            _ = try await plant(database)
            return try await checksums(database)
        }
        let second = try await withDatabase(on: server) { database in
            _ = try await plant(database)
            return try await checksums(database)
        }
        #expect(first.count == Self.tables.count)
        #expect(first == second)
    }

    @Test func `the first workspace is number 1, the others follow, and the next one made comes after them`() async throws {
        let server = try await TestPostgres.start()
        try await withDatabase(on: server) { database in
            _ = try await plant(database)
            let planted = try await database.query("SELECT id, name FROM workflows ORDER BY id", for: "test")
            #expect(try planted.map { row in try row.int("id") } == Array(1...Seed.Scale.small.workspaces))
            // A name ends in the place of its entry.
            for row in planted { #expect(try row.string("name").hasSuffix(" \(row.int("id"))")) }
            let workspaces = WorkspaceStore(database: database, cache: TieredCache(redis: nil))
            let made = try await workspaces.create(NewWorkspace(name: "mine", ticker: "ACME"))
            #expect(made.id.rawValue == Seed.Scale.small.workspaces + 1)
        }
    }

    @Test func `after a seed that was interrupted the first workspace is number 1 all the same`() async throws {
        let server = try await TestPostgres.start()
        try await withDatabase(on: server) { database in
            // A table that refuses its rows stands for a kill at that moment: the workspaces had been numbered by then.
            try await database.execute("ALTER TABLE ai_audit_logs ADD CONSTRAINT closed CHECK (false)", for: "test")
            await #expect(throws: PostgresError.self) { try await plant(database) }
            try await database.execute("ALTER TABLE ai_audit_logs DROP CONSTRAINT closed", for: "test")
            _ = try await plant(database)
            #expect(try await number(database, "SELECT min(id) AS n FROM workflows") == 1)
        }
    }

    @Test func `beside workspaces that were there a seed takes the next numbers, and its data are theirs`() async throws {
        let server = try await TestPostgres.start()
        try await withDatabase(on: server) { database in
            let workspaces = WorkspaceStore(database: database, cache: TieredCache(redis: nil))
            for name in ["one", "two"] { _ = try await workspaces.create(NewWorkspace(name: name, ticker: "MINE")) }
            _ = try await plant(database)
            #expect(try await number(database, "SELECT max(id) AS n FROM workflows") == Seed.Scale.small.workspaces + 2)
            #expect(try await number(database, "SELECT count(*) AS n FROM ai_audit_logs WHERE workspace_id <= 2") == 0)
            let strange = try await number(
                database,
                "SELECT count(*) AS n FROM workspace_data_snapshots s JOIN workflows w ON w.id = s.workspace_id WHERE s.payload->>'ticker' <> w.ticker")
            #expect(strange == 0)
        }
    }

    @Test func `a workspace that is made while a seed begins keeps its number`() async throws {
        let server = try await TestPostgres.start()
        try await withDatabase(on: server) { database in
            let held = AsyncStream.makeStream(of: Void.self)
            let goOn = AsyncStream.makeStream(of: Void.self)
            // Its owner is not one that the seed's lock would make it wait for.
            try await database.execute("INSERT INTO workflow_users (email, name) VALUES ('a@b', 'a')", for: "test")
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    // Has taken number 1, and nobody else sees it yet.
                    try await database.withTransaction(for: "test", within: .seconds(60)) { lease in
                        try await lease.execute("INSERT INTO workflows (user_id, name, ticker) SELECT id, 'mine', 'MINE' FROM workflow_users")
                        held.continuation.yield()
                        for await _ in goOn.stream { break }
                    }
                }
                for await _ in held.stream { break }
                group.addTask { _ = try await plant(database) }
                try await until("the seed waits for it") {
                    try await number(database, "SELECT count(*) AS n FROM pg_locks WHERE NOT granted") > 0
                }
                goOn.continuation.yield()
                try await group.waitForAll()
            }
            #expect(try await number(database, "SELECT id AS n FROM workflows WHERE name = 'mine'") == 1)
            #expect(try await number(database, "SELECT count(DISTINCT id) AS n FROM workflows") == Seed.Scale.small.workspaces + 1)
        }
    }

    @Test func `a second seed changes nothing, of whichever scale and day`() async throws {
        let server = try await TestPostgres.start()
        try await withDatabase(on: server) { database in
            _ = try await plant(database)
            let before = try await checksums(database)
            for scale in [Seed.Scale.small, .medium] {
                let outcome = try await plant(database, scale, at: Self.friday + .seconds(86_400))
                #expect(outcome == .alreadySeeded(workspaces: Seed.Scale.small.workspaces))
            }
            #expect(try await checksums(database) == before)
        }
    }

    @Test func `two seeds at once leave one`() async throws {
        let server = try await TestPostgres.start()
        try await withDatabase(on: server) { database in
            async let one = plant(database)
            async let other = plant(database)
            let outcomes = Set(try await [one, other])
            #expect(outcomes == [.seeded(rows: Seed.Scale.small.rows), .alreadySeeded(workspaces: Seed.Scale.small.workspaces)])
            #expect(try await number(database, "SELECT count(*) AS n FROM workflows") == Seed.Scale.small.workspaces)
        }
    }

    @Test func `without the tables it says what to run, and leaves no connection in a transaction`() async throws {
        let server = try await TestPostgres.start()
        try await withDatabase(migrated: false, on: server) { database in
            await #expect(throws: SchemaError.self) { try await plant(database) }
            let left = try await number(database, "SELECT count(*) AS n FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'")
            #expect(left == 0)
        }
    }

    /// Whatever the day, the newest prices are those of the last weekday before it.
    private static let lastDays: [(daysOn: Int, last: String)] = [
        (0, "2027-01-14"), (1, "2027-01-15"), (2, "2027-01-15"), (3, "2027-01-15"), (4, "2027-01-18"),
    ]

    @Test func `prices are of weekdays, and end before the day of the seed`() async throws {
        let server = try await TestPostgres.start()
        for (daysOn, last) in Self.lastDays {
            try await withDatabase(on: server) { database in
                _ = try await plant(database, at: Self.friday + .seconds(daysOn * 86_400))
                let rows = try await database.query(
                    """
                    SELECT ticker, max(snapshot_date)::text AS last, count(*) AS n, count(DISTINCT snapshot_date) AS days,
                        count(*) FILTER (WHERE extract(isodow FROM snapshot_date) > 5) AS weekend,
                        (SELECT count(*) FROM generate_series(min(snapshot_date), max(snapshot_date), interval '1 day') day
                         WHERE extract(isodow FROM day) < 6) AS weekdays
                    FROM market_snapshots GROUP BY ticker
                    """, for: "test")
                #expect(rows.count == Seed.Scale.small.tickers)
                for row in rows {
                    #expect(try row.string("last") == last)
                    // Each weekday once, none left out.
                    #expect(try row.int("weekend") == 0 && row.int("days") == row.int("n") && row.int("weekdays") == row.int("n"))
                }
            }
        }
    }

    @Test func `the figures hold together`() async throws {
        let server = try await TestPostgres.start()
        try await withDatabase(on: server) { database in
            _ = try await plant(database)
            for impossible: SQL in [
                "SELECT count(*) AS n FROM market_snapshots WHERE high < greatest(open, close) OR low > least(open, close) OR volume <= 0",
                """
                SELECT count(*) AS n FROM financial_statements
                WHERE revenue <= 0 OR gross_profit NOT BETWEEN 0 AND revenue OR operating_income > gross_profit
                    OR net_income > greatest(operating_income, 0) OR total_debt > total_assets OR total_debt < 0
                """,
                "SELECT count(*) AS n FROM financial_statements WHERE period_end >= '2027-01-15'",
                "SELECT count(*) AS n FROM workflows WHERE ticker NOT IN (SELECT ticker FROM market_snapshots)",
                "SELECT count(*) AS n FROM workspace_data_snapshots s JOIN workflows w ON w.id = s.workspace_id WHERE s.payload->>'ticker' <> w.ticker",
                """
                SELECT count(*) AS n FROM workspace_data_snapshots s JOIN workflows w ON w.id = s.workspace_id
                WHERE s.created_at < w.created_at OR s.created_at > '2027-01-15 08:00Z'
                """,
            ] {
                #expect(try await number(database, impossible) == 0, "\(impossible.text)")
            }
            // A day's move beyond a quarter would be a fault of the walk, not a bad day.
            let jumps = try await number(
                database,
                """
                SELECT count(*) AS n FROM (
                    SELECT close / lag(close) OVER (PARTITION BY ticker ORDER BY snapshot_date) - 1 AS move FROM market_snapshots) moves
                WHERE abs(move) > 0.25
                """)
            #expect(jumps == 0)
        }
    }

    @Test func `few have most`() async throws {
        let server = try await TestPostgres.start()
        try await withDatabase(on: server) { database in
            _ = try await plant(database)
            for (name, grouped) in [
                ("workspaces of a user", "SELECT count(w.id) AS n FROM workflow_users u LEFT JOIN workflows w ON w.user_id = u.id GROUP BY u.id"),
                ("workspaces of a ticker", "SELECT count(*) AS n FROM workflows GROUP BY ticker"),
                ("snapshots of a workspace", "SELECT count(*) AS n FROM workspace_data_snapshots GROUP BY workspace_id"),
                ("audit logs of a workspace", "SELECT count(*) AS n FROM ai_audit_logs GROUP BY workspace_id"),
            ] {
                let skew = try await #require(
                    database.query(
                        """
                        SELECT max(n) AS most, percentile_disc(0.5) WITHIN GROUP (ORDER BY n) AS middle FROM (\(unescaped: grouped)) counts
                        """, for: "test"
                    ).first)
                let (most, middle) = (try skew.int("most"), try skew.int("middle"))
                #expect(most >= 2 * middle && middle > 0, "\(name): \(most) against \(middle)")
            }
        }
    }

    @Test func `every kind of task can work on every planted workspace`() async throws {
        let server = try await TestPostgres.start()
        try await withDatabase(on: server) { database in
            _ = try await plant(database)
            let hub = EventHub(database: database, bootID: "test")
            let tasks = AgentTaskStore(database: database, hub: hub)
            let ids = try await database.query("SELECT id FROM workflows ORDER BY id", for: "test").map { row in try Workspace.ID(row, "id") }
            for id in ids {
                for handler in TaskHandlers.all {
                    let task = try await tasks.create(NewAgentTask(workspaceID: id, type: handler.type, autoStart: false))
                    let data = TaskData(database: database, task: task, parameters: try TaskParameters([:]))
                    var findings = TaskFindings()
                    for step in handler.steps { try await step.perform(data, &findings) }
                    #expect(findings.summary.hasPrefix(findings.workspace?.ticker ?? "?"))
                    #expect(!findings.summary.contains("unknown"), "\(findings.summary)")
                }
            }
        }
    }
}
