import TestServers
import Testing
import Vitals

@testable import AppCore

/// What the database can hold and this program cannot read: refused by the tables, and where it is there all the same, left out alone.
@Suite("Rows that cannot be read")
struct UnreadableRowsTests {
    private static func deep(_ levels: Int) -> String { String(repeating: "[", count: levels) + "1" + String(repeating: "]", count: levels) }

    struct Oddity: Sendable, CustomTestStringConvertible {
        var table: String
        var column: String
        /// The column's type without what the migration refuses.
        var type: String
        var value: String

        var testDescription: String { "\(table).\(column) = \(value.prefix(20))" }
    }

    static let oddities: [Oddity] =
        ["'NaN'", "'Infinity'"].map { Oddity(table: "market_snapshots", column: "high", type: "double precision", value: $0) }
        + ["open", "close"].map { Oddity(table: "market_snapshots", column: $0, type: "double precision", value: "'NaN'") }
        + ["'infinity'", "'-infinity'", "'10000-01-01'", "'0044-03-15 BC'"].flatMap { value in
            [
                Oddity(table: "market_snapshots", column: "snapshot_date", type: "date", value: value),
                Oddity(table: "workflows", column: "last_accessed_at", type: "timestamptz", value: value),
            ]
        }
        + ["created_at", "updated_at"].map { Oddity(table: "workflows", column: $0, type: "timestamptz", value: "'infinity'") }
        + ["workspace_data_snapshots", "ai_audit_logs", "agent_tasks"].map {
            Oddity(table: $0, column: "created_at", type: "timestamptz", value: "'-infinity'")
        }
        + [
            ("workspace_data_snapshots", "payload"), ("ai_audit_logs", "details"), ("agent_tasks", "params"), ("agent_tasks", "result"),
        ].map { Oddity(table: $0.0, column: $0.1, type: "jsonb", value: "'\(deep(70))'") }

    /// A workspace with two of everything; the odd one of each is the newer.
    private func prepared(_ application: TestApplication) async throws -> Workspace {
        let database = application.database
        let workspace = try await application.workspaces.create(NewWorkspace(name: "One", ticker: "ACME"))
        _ = try await application.workspaces.create(NewWorkspace(name: "Two", ticker: "ACME"))
        try await database.withConnection(for: "test") { lease in
            try await lease.script(
                """
                INSERT INTO market_snapshots (ticker, snapshot_date, open, high, low, close, volume)
                    SELECT 'ACME', '2026-01-01'::date + n, 1, 2, 1, 1, 1 FROM generate_series(1, 2) n;
                INSERT INTO workspace_data_snapshots (workspace_id, snapshot_type, payload) SELECT 1, 'type' || n, '{}' FROM generate_series(1, 2) n;
                INSERT INTO ai_audit_logs (workspace_id, action, summary) SELECT 1, 'a' || n, 'b' FROM generate_series(1, 2) n;
                INSERT INTO agent_tasks (workspace_id, type, state) SELECT 1, 'risk-assessment', 'created' FROM generate_series(1, 2)
                """)
        }
        return workspace
    }

    private static let shared = SharedServer()

    @Test("J2: what cannot be read is refused by its table, and one that is there takes nothing beside it along", arguments: oddities)
    func oddity(_ oddity: Oddity) async throws {
        let server = try await Self.shared.get()
        let log = LogLines()
        try await TestApplication.with(server, log: log) { application in
            let workspace = try await prepared(application)
            let database = application.database
            // The newest row: of the workspaces it is the second.
            let last = "ctid = (SELECT max(ctid) FROM \(oddity.table))"
            let change = SQL(unescaped: "UPDATE \(oddity.table) SET \(oddity.column) = \(oddity.value) WHERE \(last)")
            do {
                try await database.execute(change, for: "test")
                Issue.record("the table let it pass")
            } catch let error as PostgresError {
                #expect(error.sqlState == "23514", "\(error)")
            }
            try await database.withConnection(for: "test") { lease in
                try await lease.script(
                    """
                    ALTER TABLE \(oddity.table) ALTER COLUMN \(oddity.column) DROP DEFAULT, ALTER COLUMN \(oddity.column) TYPE \(oddity.type);
                    \(change.text)
                    """)
            }
            let workspaces = application.workspaces
            let answers = [
                try await workspaces.page(), try await workspaces.snapshotPage(workspace.id), try await workspaces.auditLogPage(workspace.id),
                try await workspaces.marketHistoryDocument("ACME"), try await application.tasks.page(of: workspace.id),
                try await workspaces.overview(workspace.id),
            ].map { String(decoding: $0.bytes, as: UTF8.self) }
            // What is beside it is told, wherever it stands.
            for (answer, marks) in zip(answers, [["One"], ["type1"], ["a1"], ["2026-01-02"], ["risk-assessment"], ["One", "type1", "a1", "risk-assessment", #""days":"#]]) {
                for mark in marks { #expect(answer.contains(mark), "no \(mark) in \(answer)") }
                // JSON without what it has no word for. What nests deeper than this program reads is passed on as it is.
                if oddity.type != "jsonb" { #expect(JSONValue(text: answer) != nil, "no JSON: \(answer)") }
            }
            _ = try await workspaces.overview(workspace.id)
            let told = log.all.filter { $0.hasPrefix("warning a row cannot be read") }
            let counts = oddity.table == "market_snapshots"
            #expect(told.count == (counts ? 1 : 0), "\(told)")
            if counts { #expect(told.allSatisfy { $0.contains("table=market_snapshots") && $0.contains("\"\(oddity.column)\"") }, "\(told)") }
        }
    }

    @Test("J2: the table of tasks refuses what would stop everybody's", arguments: [
        "state = 'queued', queued_at = '-infinity'", "state = 'queued', queued_at = 'infinity'", "state = 'queued', queued_at = NULL",
        "lease_ends_at = 'infinity'", "progress = 'NaN'",
    ])
    func queue(change: String) async throws {
        let server = try await Self.shared.get()
        try await TestApplication.with(server) { application in
            _ = try await prepared(application)
            let found = await #expect(throws: PostgresError.self) {
                try await application.database.execute("UPDATE agent_tasks SET \(unescaped: change)", for: "test")
            }
            #expect(found?.sqlState == "23514")
        }
    }

    @Test("J1: one bound for both ways: what the tables keep is read, and what is not read they refuse")
    func depth() async throws {
        let server = try await TestPostgres.start()
        try await TestApplication.with(server) { application in
            let workspace = try await prepared(application)
            for (levels, fits) in [(1, true), (62, true), (63, true), (64, false), (65, false), (200, false)] {
                for text in [Self.deep(levels), String(repeating: #"{"a":"#, count: levels) + "1" + String(repeating: "}", count: levels)] {
                    #expect((JSONValue(text: text) != nil) == fits, "\(levels)")
                    let insert: SQL = "INSERT INTO workspace_data_snapshots (workspace_id, snapshot_type, payload) VALUES (\(workspace.id), 'x', \(text))"
                    let isKept = (try? await application.database.execute(insert, for: "test")) != nil
                    #expect(isKept == fits, "\(levels)")
                }
            }
        }
    }

    /// Two names that a Swift dictionary takes for one, and what a table without our checks may hold.
    static let poison = [#"{"\u00e9":1,"e\u0301":2}"#, #"{"x":\#(deep(70))}"#, #"{"x":0.\#(String(repeating: "123", count: 20))}"#]

    @Test("J1: a task whose row cannot be read fails by itself, is told of once, and costs no other an attempt", arguments: poison)
    func claim(params: String) async throws {
        let server = try await Self.shared.get()
        let log = LogLines()
        try await TestApplication.with(server, seeded: true, log: log) { application in
            let database = application.database
            try await database.withConnection(for: "test") { lease in
                try await lease.script("ALTER TABLE agent_tasks ALTER COLUMN params DROP DEFAULT, ALTER COLUMN params TYPE jsonb")
                for workspace in [1, 2, 3, 1] {
                    let bad = workspace == 2
                    try await lease.execute(
                        """
                        INSERT INTO agent_tasks (workspace_id, type, params, state, queued_at)
                        VALUES (\(workspace), 'risk-assessment', \(bad ? params : "{}"), 'queued', now())
                        """)
                }
            }
            try await application.working {
                try await until("all are finished") {
                    let row = try await database.query("SELECT count(*) AS n FROM agent_tasks WHERE finished_at IS NOT NULL", for: "test").first
                    return try row?.int("n") == 4
                }
            }
            let rows = try await database.query("SELECT workspace_id, state, attempt, error FROM agent_tasks ORDER BY workspace_id", for: "test")
            let states = try rows.map { row in "\(try row.int("workspace_id")) \(try row.string("state")) \(try row.int("attempt"))" }
            #expect(states == ["1 completed 1", "1 completed 1", "2 failed 1", "3 completed 1"])
            #expect(try rows[2].string("error").contains(#"its row cannot be read: postgres: column "params""#))
            let told = log.all.filter { $0.hasPrefix("warning a row cannot be read") }
            #expect(told.count == 1 && told[0].contains("the task has failed"), "\(told)")
            let events = try await database.query("SELECT kind FROM agent_task_events JOIN agent_tasks ON id = task_id WHERE workspace_id = 2 ORDER BY sequence", for: "test")
            #expect(try events.map { row in try row.string("kind") } == ["task:started", "task:failed"])
        }
    }

    /// Numbers and names, as a client writes them and as they are to come back.
    static let exact = [
        "9223372036854775807", "9223372036854775808", "-9223372036854775809", "18446744073709551617", "12345678901234567890123456789012345678",
        "0.1", "0.30000000000000004", "0.1234567890123456789", "-1.00000000000000000001", "1e-7", "123456.789e3", "1e300", "-2.5e-300",
    ]

    @Test("J2: numbers beyond 2^63, and names in both forms of Unicode, are kept and told as they are")
    func unchanged() async throws {
        let server = try await TestPostgres.start()
        try await TestApplication.with(server) { application in
            let forms = ["Caf\u{e9}", "Cafe\u{301}", "\u{212B}", "👩‍👩‍👧"]
            for name in forms {
                let workspace = try await application.workspaces.create(NewWorkspace(name: name, ticker: "ACME"))
                #expect(Array(try await application.workspaces.find(workspace.id).name.utf8) == Array(name.utf8))
            }
            #expect(try await application.workspaces.list().count == forms.count)
            let workspace = try #require(try await application.workspaces.list().first)
            for number in Self.exact {
                let payload = #"{"n":\#(number),"e\u0301":"e\u0301"}"#
                let answer = try await application.addSnapshot(#"{"type":"n","payload":\#(payload)}"#, to: workspace.id)
                let row = try await application.database.query("SELECT id, payload FROM workspace_data_snapshots ORDER BY id DESC LIMIT 1", for: "test").first
                let kept = try #require(row)
                #expect(try .integer(kept.int("id")) == JSONValue(text: answer)?["id"])
                let read = try kept.json("payload")
                #expect(read["e\u{301}"].map { Array($0.text.utf8) } == Array("\"e\u{301}\"".utf8))
                #expect(DecimalDigits((read["n"]?.text ?? "").utf8) == DecimalDigits(number.utf8), "\(read)")
                // What goes out says the same number, digit for digit.
                let told = String(decoding: try await application.workspaces.snapshotPage(workspace.id, limit: 1).bytes, as: UTF8.self)
                let start = try #require(told.firstRange(of: #""n":"#)?.upperBound)
                #expect(DecimalDigits(told[start...].drop { $0 == " " }.prefix { $0 != "," && $0 != "}" }.utf8) == DecimalDigits(number.utf8), "\(told)")
            }
        }
    }

    @Test("J2: numbers that nothing holds exactly, and names twice, are refused by their field")
    func refused() {
        let cases = [
            (#"{"type":"n","payload":1e400}"#, "payload has a number that is too large to be kept"),
            (#"{"type":"n","payload":[0.\#(String(repeating: "123", count: 20))]}"#, "payload has a number that has more than 38 digits, or too great an exponent"),
            (#"{"type":"n","payload":{"\#u{e9}":1,"e\#u{301}":2}}"#, "body has two names in one object that Unicode takes for the same: \"e\u{301}\""),
        ]
        for (body, says) in cases {
            do throws(RequestProblem) {
                _ = try SentDataSnapshot(body: body.utf8)
                Issue.record("\(body) was taken")
            } catch {
                #expect("\(error)" == says)
            }
        }
    }

    @Test("J2: a database in another encoding, or in none, is served", arguments: ["LATIN1", "SQL_ASCII"])
    func encodings(encoding: String) async throws {
        let server = try await TestPostgres.start()
        let log = LogLines()
        try await TestApplication.with(server, encoding: encoding, log: log) { application in
            let workspace = try await application.workspaces.create(NewWorkspace(name: "Café", ticker: "ACME"))
            #expect(try await application.workspaces.find(workspace.id).name == "Café")
            let snapshot = try await application.addSnapshot(#"{"type":"é","payload":{"é":"ü"}}"#, to: workspace.id)
            #expect(JSONValue(text: snapshot)?["payload"] == ["é": "ü"])
            guard encoding == "SQL_ASCII" else { return }
            // Bytes that are no UTF-8: nothing that we could tell says the same.
            try await application.database.execute("INSERT INTO workflows (user_id, name, ticker) SELECT user_id, 'Caf' || chr(233), 'ACME' FROM workflows", for: "test")
            #expect(try await application.workspaces.list().map(\.name) == ["Café"])
            #expect(log.all.contains { $0.hasPrefix("warning a row cannot be read") && $0.contains("\"name\" is not UTF-8") }, "\(log.all)")
            let answer = String(decoding: try await application.workspaces.page().bytes, as: UTF8.self)
            #expect(answer.contains(#""omitted":{"name":4}"#) && answer.contains("Café") && !answer.contains("\u{FFFD}"), "\(answer)")

            // It takes nothing along that is stored with it, and what is changed in it is.
            let odd = try #require(Workspace.ID(rawValue: workspace.id.rawValue + 1))
            #expect(JSONValue(text: String(decoding: try await application.workspaces.snapshotPage(odd).bytes, as: UTF8.self)) == ["snapshots": []])
            #expect(JSONValue(text: String(decoding: try await application.workspaces.auditLogPage(odd).bytes, as: UTF8.self)) == ["auditLogs": []])
            let patched = try await application.workspaces.updateDocument(odd, WorkspacePatch(ticker: "NVDA"))
            let told = try #require(JSONValue(text: String(decoding: patched.bytes, as: UTF8.self)))
            #expect(told["ticker"] == "NVDA" && told["version"] == 2 && told["omitted"] == ["name": 4], "\(told)")
            // With a name that can be read it is one like any other.
            let healed = try await application.workspaces.updateDocument(odd, WorkspacePatch(name: "Café"))
            #expect(JSONValue(text: String(decoding: healed.bytes, as: UTF8.self))?["name"] == "Café")
            #expect(try await application.workspaces.find(odd).version == 3)
        }
    }

    @Test("J2: doubles come digit for digit, whatever the role's settings, also after a session was restored")
    func digits() async throws {
        let server = try await TestPostgres.start()
        try await server.superuserScript("ALTER ROLE app SET extra_float_digits = -10")
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(20)), server.endpoint) { database in
            for _ in 0..<2 {
                try await database.withConnection(for: "test") { lease in
                    let row = try #require(try await lease.query("SELECT 0.12345678901234567::float8 AS share, 1234567890.1234567::float8 AS price").first)
                    #expect(try row.double("share") == 0.12345678901234567)
                    #expect(try row.double("price") == 1234567890.1234567)
                    try await lease.execute("SET statement_timeout = '7s'")
                }
            }
            #expect(database.pool.statistics().opened == 1)
        }
    }
}
