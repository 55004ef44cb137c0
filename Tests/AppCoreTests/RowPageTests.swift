import TestServers
import Testing
import Vitals

@testable import AppCore

/// Lists of what the database holds, bounded in bytes, and told as it stands there.
@Suite("Pages of rows")
struct RowPageTests {
    private struct Scene: Sendable {
        let application: TestApplication
        let workspace: Workspace.ID

        func insert(_ payload: SQL, count: Int = 1, type: String = "note", at time: String = "now()") async throws {
            try await application.database.execute(
                """
                INSERT INTO workspace_data_snapshots (workspace_id, snapshot_type, payload, created_at)
                SELECT \(workspace), \(type), \(fragment: payload), \(unescaped: time) FROM generate_series(1, \(count))
                """, for: "test")
        }

        func page(limit: Int = 50, type: String? = nil, before: String? = nil) async throws -> (items: [JSONValue], next: String?, text: String) {
            let cursor = try before.map { text in try PageCursor(text) }
            let document = try await application.workspaces.snapshotPage(workspace, type: type, limit: limit, before: cursor)
            let text = String(decoding: document.bytes, as: UTF8.self)
            let json = JSONValue(text: text) ?? .null
            guard case .array(let items) = json["snapshots"] ?? .array([]) else { return ([], nil, text) }
            return (items, json["next"]?.stringValue, text)
        }

        /// Page after page, to the last.
        func pages(limit: Int = 50) async throws -> [[JSONValue]] {
            var pages: [[JSONValue]] = []
            var next: String?
            repeat {
                let page = try await page(limit: limit, before: next)
                pages.append(page.items)
                next = page.next
            } while next != nil && pages.count < 100
            return pages
        }
    }

    private static func scene(_ body: @Sendable (Scene) async throws -> Void) async throws {
        try await TestApplication.with(try await TestPostgres.start()) { application in
            let workspace = try await application.workspaces.create(NewWorkspace(name: "One", ticker: "ACME"))
            try await body(Scene(application: application, workspace: workspace.id))
        }
    }

    private static func ids(_ items: [JSONValue]) -> [Int] { items.compactMap { $0["id"]?.intValue } }

    @Test("J3: a page ends at its limit, or with the row that brings it to a mebibyte; each row is on one page, newest first")
    func pages() async throws {
        try await Self.scene { scene in
            try await scene.insert("jsonb_build_object('all', repeat('a', 600000))", count: 5)
            try await scene.insert("'{}'", count: 7)
            let pages = try await scene.pages()
            #expect(pages.map(\.count) == [9, 2, 1])
            // Rows of one instant are told apart by their numbers.
            #expect(Self.ids(pages.flatMap { $0 }) == Array((1...12).reversed()))
            #expect(try await scene.pages(limit: 5).map(\.count) == [5, 4, 2, 1])
            #expect(try await scene.pages(limit: 6).map(\.count) == [6, 3, 2, 1])
            #expect(try await scene.page(limit: 12, type: "other").items.isEmpty)
        }
    }

    @Test("J3: the last page is the last also when it ends exactly at the limit")
    func exactEnd() async throws {
        try await Self.scene { scene in
            try await scene.insert("'{}'", count: 6)
            #expect(try await scene.pages(limit: 3).map(\.count) == [3, 3])
            #expect(try await scene.page(limit: 6).next == nil)
        }
    }

    @Test("J3: a value beyond two mebibytes is told by its length, in its place as in a page")
    func omitted() async throws {
        try await Self.scene { scene in
            try await scene.insert("jsonb_build_object('all', repeat('a', 3000000))")
            try await scene.insert(#"'{"a": 1}'"#)
            let page = try await scene.page()
            #expect(page.items.count == 2)
            #expect(page.items[0]["payload"] == ["a": 1] && page.items[0]["omitted"] == nil)
            #expect(page.items[1]["payload"] == nil && page.items[1]["omitted"] == ["payload": 3_000_011])
        }
    }

    @Test("J3: what this program could not read itself is passed on as it is")
    func unread() async throws {
        try await Self.scene { scene in
            let deep = String(repeating: "[", count: 100) + String(repeating: "]", count: 100)
            // As tables were that another program made.
            try await scene.application.database.execute(
                "ALTER TABLE workspace_data_snapshots ALTER COLUMN payload TYPE jsonb, ALTER COLUMN created_at TYPE timestamptz", for: "test")
            let payload = #"{"big": 123456789012345678901234567890, "deep": \#(deep), "exact": 0.10000000000000000000000001}"#
            try await scene.insert("\(payload)::jsonb", at: "'infinity'")
            try await scene.insert("'{}'", at: "'-infinity'")
            let page = try await scene.page()
            #expect(page.text.contains(#""createdAt":"infinity","#) && page.text.contains(#""createdAt":"-infinity","#), "\(page.text)")
            #expect(page.text.contains(#""payload":\#(payload),"#), "\(page.text)")
            // And leads on to the next page.
            let first = try await scene.page(limit: 1)
            #expect(first.text.contains(#""next":"infinity~1""#), "\(first.text)")
            #expect(try await scene.page(limit: 1, before: "infinity~1").text.contains("-infinity"))
        }
    }

    @Test func `a page that was never named is refused by its parameter`() async throws {
        let bad = [
            "", "~", "1", "now", "2026-11-27T00:00:00Z~", "~7", "tomorrowish~7", "2026-13-41T00:00:00Z~7", "2026-11-27T00:00:00Z~x",
            "2026-11-27T00:00:00Z~99999999999999999999", "a~b~c", "é~1", "2026-01-01 00:00:00 Foo/Bar~1", "2026-01-01 00:00:00 Europe/Berlin~1",
            "2026-01-01 00:00:00 TZ~1", "2026-01-01 00:00:00+99:99~1", "2026-01-01 BC BC~1", "yesterday~1", "-infinity BC~1", "2026-11-27T00:00:00Z~ 1",
            "..~1", "2026-11-27T00:00:00Z~1-2", "2026-11-27T00:00:00Z~ff",
        ]
        try await Self.scene { scene in
            for text in bad {
                do {
                    _ = try await scene.page(before: text)
                    Issue.record("\(text) was taken")
                } catch RequestProblem.invalid(let field, _) {
                    #expect(field == "before")
                }
            }
        }
    }

    @Test("J3: of long values an overview has the lengths, and the list the values")
    func overview() async throws {
        try await Self.scene { scene in
            for number in 0..<50 {
                try await scene.insert("jsonb_build_object('all', repeat('a', 1000000))", type: "long-\(number)")
            }
            try await scene.insert(#"'{"a": 1}'"#, type: "a")
            let document = try await scene.application.workspaces.overview(scene.workspace)
            #expect(document.bytes.count < 32_768)
            let overview = try #require(JSONValue(text: String(decoding: document.bytes, as: UTF8.self)))
            guard case .array(let snapshots) = overview["snapshots"] else {
                Issue.record("\(overview)")
                return
            }
            #expect(snapshots.count == 50 && snapshots[0]["payload"] == ["a": 1] && snapshots[1]["omitted"]?["payload"] == 1_000_011)
            #expect(overview["workspace"]?["id"] == .integer(scene.workspace.rawValue) && document.version == 1)
        }
    }

    @Test("J3: tasks, the log and the workspaces themselves come in such pages, too")
    func otherLists() async throws {
        try await Self.scene { scene in
            let (application, id) = (scene.application, scene.workspace)
            try await application.database.execute(
                """
                WITH numbers AS (SELECT n FROM generate_series(1, 3) n),
                tasks AS (
                    INSERT INTO agent_tasks (workspace_id, type, state, result)
                    SELECT \(id), 'risk-assessment', 'completed', jsonb_build_object('all', repeat('a', 900000)) FROM numbers),
                logs AS (
                    INSERT INTO ai_audit_logs (workspace_id, action, summary) SELECT \(id), 'a', repeat('a', 900000) FROM numbers)
                INSERT INTO workflows (user_id, name, ticker, thesis)
                SELECT user_id, 'Long', 'ACME', repeat('a', 900000) FROM workflows, numbers WHERE id = \(id)
                """, for: "test")
            func count(_ name: String, _ page: (PageCursor?) async throws -> JSONDocument) async throws -> [Int] {
                var counts: [Int] = []
                var next: PageCursor?
                repeat {
                    let text = String(decoding: try await page(next).bytes, as: UTF8.self)
                    guard let json = JSONValue(text: text), case .array(let items) = json[name] else { throw NotInTime(name, limit: .zero) }
                    counts.append(items.count)
                    next = try json["next"]?.stringValue.map { text in try PageCursor(text) }
                } while next != nil && counts.count < 100
                return counts
            }
            #expect(try await count("tasks") { try await application.tasks.page(of: id, before: $0) } == [2, 1])
            #expect(try await count("auditLogs") { try await application.workspaces.auditLogPage(id, before: $0) } == [2, 1])
            #expect(try await count("workspaces") { try await application.workspaces.page(before: $0) }.reduce(0, +) == 4)
        }
    }

    @Test("an overview is one transaction, and so one round trip, on a connection of its own")
    func overviewInOneRoundTrip() async throws {
        // Without names for statements: to give one would be a transaction more.
        let pool = PoolConfiguration(max: 1, deadline: .seconds(60), reserved: 0, batching: false, prepared: .off)
        try await TestApplication.with(try await TestPostgres.start(), seeded: true, pool: pool) { application in
            let workspace = try #require(try await application.workspaces.list().first)
            /// How many transactions this one connection has begun.
            func transactions() async throws -> Int {
                let rows = try await application.database.query(
                    "SELECT split_part(virtualtransaction, '/', 2)::int AS number FROM pg_locks WHERE pid = pg_backend_pid() LIMIT 1", for: "test")
                return try #require(rows.first).int("number")
            }
            // No visit is due, which would be a write of its own.
            try await application.database.execute("UPDATE workflows SET last_accessed_at = now()", for: "test")
            let before = try await transactions()
            _ = try await application.workspaces.overview(workspace.id)
            #expect(try await transactions() - before == 2)
        }
    }

    @Test func `of one user's workspaces there is no other's in the list, on whichever page`() async throws {
        try await Self.scene { scene in
            let workspaces = scene.application.workspaces
            let rows = try await scene.application.database.query(
                "INSERT INTO workflow_users (email, name) VALUES ('a@b', 'a') RETURNING id", for: "test")
            let row = try #require(rows.first)
            let user = try WorkspaceUser.ID(row, "id")
            for name in ["Two", "Three"] { _ = try await workspaces.create(NewWorkspace(name: name, ticker: "ACME", userID: user)) }

            func page(_ user: WorkspaceUser.ID?, limit: Int = 50, before: PageCursor? = nil) async throws -> (names: [String], next: PageCursor?) {
                let document = try await workspaces.page(user: user, limit: limit, before: before)
                let json = JSONValue(text: String(decoding: document.bytes, as: UTF8.self)) ?? .null
                guard case .array(let items)? = json["workspaces"] else { return ([], nil) }
                let next = try json["next"]?.stringValue.map { text in try PageCursor(text) }
                return (items.compactMap { $0["name"]?.stringValue }, next)
            }
            #expect(try await page(user).names == ["Three", "Two"])
            #expect(try await page(nil).names == ["Three", "Two", "One"])
            let first = try await page(user, limit: 1)
            #expect(first.names == ["Three"] && first.next != nil)
            let second = try await page(user, limit: 1, before: first.next)
            #expect(second.names == ["Two"])
            #expect(try await workspaces.list(user: user).map(\.name) == ["Three", "Two"])
        }
    }
}
