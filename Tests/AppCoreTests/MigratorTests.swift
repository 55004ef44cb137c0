import TestServers
import Testing
import Vitals

@testable import AppCore

@Suite("Migrator")
struct MigratorTests {
    @Test func `of many that start at once one applies, and all find it done`() async throws {
        let server = try await TestPostgres.start()
        try await TestApplication.with(server) { application in
            let database = application.database
            try await database.withConnection(for: "test") { lease in
                try await lease.script("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
            }
            let applied = try await withThrowingTaskGroup(of: [String].self) { group in
                for _ in 0..<6 { group.addTask { try await Migrator(database: database).up() } }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            #expect(applied.sorted() == ["0001_core.sql", "0002_performance_indexes.sql"])
            let status = try await Migrator(database: database).status()
            #expect(status.pending.isEmpty && status.problem == nil)
        }
    }

    @Test func `a file changed after it was applied is refused by name`() async throws {
        let server = try await TestPostgres.start()
        try await TestApplication.with(server) { application in
            try await application.database.execute(
                "UPDATE healthd_migrations SET checksum = 'other' WHERE name = '0001_core.sql'", for: "test")
            do {
                try await Migrator(database: application.database).up()
                Issue.record("was applied")
            } catch let error as SchemaError {
                guard case .changed("0001_core.sql", "other", _) = error else {
                    Issue.record("\(error)")
                    return
                }
            }
        }
    }

    @Test func `a missing table names the migration to run`() async throws {
        let server = try await TestPostgres.start()
        try await TestApplication.with(server) { application in
            try await application.database.execute("DROP TABLE agent_tasks CASCADE", for: "test")
            do {
                let id = try #require(AgentTask.ID(rawValue: "00000000-0000-0000-0000-000000000000"))
                _ = try await application.tasks.find(id)
                Issue.record("found in a table that is gone")
            } catch let error as SchemaError {
                #expect("\(error)" == #"table "agent_tasks" is missing: run "healthd migrate up" (0001_core.sql)"#)
            }
        }
    }

    @Test func `the four indexes are as promised, and valid`() async throws {
        let server = try await TestPostgres.start()
        try await TestApplication.with(server) { application in
            let rows = try await application.database.query(
                """
                SELECT c.relname AS name, pg_get_indexdef(c.oid) AS definition
                FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid WHERE i.indisvalid AND i.indisready AND c.relname LIKE 'idx\\_%'
                """, for: "test")
            let found = try Dictionary(uniqueKeysWithValues: rows.map { try ($0.string("name"), $0.string("definition")) })
            let promised = [
                "idx_ai_audit_logs_workspace_time": "(workspace_id, created_at DESC)",
                "idx_market_snapshots_ticker_date": "(ticker, snapshot_date DESC)",
                "idx_workspace_snapshots_workspace_type": "(workspace_id, snapshot_type, created_at DESC)",
                "idx_workflows_user_accessed": "(user_id, last_accessed_at DESC)",
            ]
            for (name, columns) in promised { #expect(found[name]?.hasSuffix(columns) == true, "\(name): \(found[name] ?? "missing")") }
        }
    }

    @Test func `an index of ours that is missing, or was not built to its end, is named`() async throws {
        let server = try await TestPostgres.start()
        try await TestApplication.with(server) { application in
            let (database, name) = (application.database, "idx_workflows_user_accessed")
            for ticker in ["ACME", "NVDA"] { _ = try await application.workspaces.create(NewWorkspace(name: "One", ticker: ticker)) }
            let migrator = Migrator(database: database)
            func expectName(_ state: String) async throws {
                #expect(try await migrator.status().problem == .invalidIndex(name), "\(state)")
                await #expect(throws: SchemaError.invalidIndex(name), "\(state)") { try await migrator.up() }
            }
            try await database.execute("DROP INDEX \(unescaped: name)", for: "test")
            try await expectName("missing")
            // Two workspaces of one user are in its way: it stays, and is of no use.
            let created = await #expect(throws: PostgresError.self) {
                try await database.execute("CREATE UNIQUE INDEX CONCURRENTLY \(unescaped: name) ON workflows (user_id)", for: "test")
            }
            #expect(created?.sqlState == "23505")
            try await expectName("not valid")
        }
    }
}
