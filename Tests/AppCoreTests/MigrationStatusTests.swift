import FoundationEssentials
import Testing
import Vitals

@testable import AppCore

struct `Migration status` {
    private let known = [Migration(name: "0001_a.sql", text: "CREATE TABLE a ();"), Migration(name: "0002_b.sql", text: "CREATE INDEX i ON a (x);")]

    private func applied(_ names: String..., changed: String? = nil) -> [MigrationStatus.Applied] {
        names.map { name in
            let checksum = known.first { $0.name == name }?.checksum ?? "?"
            return .init(name: name, checksum: name == changed ? "other" : checksum, appliedAt: WallTime(secondsSince1970: 0))
        }
    }

    @Test func `knows what is left, what was changed and what is strange`() {
        #expect(MigrationStatus(known: known, applied: []).pending == known)
        #expect(MigrationStatus(known: known, applied: applied("0001_a.sql")).pending.map(\.name) == ["0002_b.sql"])
        #expect(MigrationStatus(known: known, applied: applied("0001_a.sql", "0002_b.sql")).problem == nil)
        #expect(
            MigrationStatus(known: known, applied: applied("0001_a.sql", changed: "0001_a.sql")).problem
                == .changed(file: "0001_a.sql", applied: "other", present: known[0].checksum))
        #expect(MigrationStatus(known: known, applied: applied("0001_a.sql", "0002_b.sql", "0009_new.sql")).problem == .unknown(file: "0009_new.sql"))
        #expect(MigrationStatus(known: known, applied: applied("0002_b.sql")).problem == .outOfOrder(file: "0001_a.sql", after: "0002_b.sql"))
    }

    @Test func `a missing table is told by the file that makes it`() {
        let error = PostgresError.server(ServerError(sqlState: "42P01", message: "relation \"agent_tasks\" does not exist"))
        #expect(SchemaError(error).map { "\($0)" } == "table \"agent_tasks\" is missing: run \"healthd migrate up\" (0001_core.sql)")
        #expect(SchemaError(PostgresError.server(ServerError(sqlState: "42601", message: "syntax error"))) == nil)
    }

    @Test func `the embedded files are those of the folder`() throws {
        // Tests/AppCoreTests/this file: the package is two folders up.
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let folder = root.appending(path: "migrations").path
        let names = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasSuffix(".sql") }.sorted()
        #expect(Migration.embedded.map(\.name) == names)
        for migration in Migration.embedded {
            #expect(try String(contentsOfFile: folder + "/" + migration.name, encoding: .utf8) == migration.text)
        }
    }

    @Test func `the four promised indexes are made, by name`() {
        #expect(
            Set(Migration.embedded[1].indexes) == [
                "idx_ai_audit_logs_workspace_time", "idx_market_snapshots_ticker_date", "idx_workspace_snapshots_workspace_type",
                "idx_workflows_user_accessed",
            ])
        #expect(Set(Migration.embedded[0].tables).isSuperset(of: ["workflows", "agent_tasks", "market_snapshots"]))
    }

    @Test(arguments: [
        "relation \"agent_tasks\" does not exist", "relation \"public.agent_tasks\" does not exist", "Relation »agent_tasks« existiert nicht",
        "la relation « agent_tasks » n'existe pas",
    ])
    func `a missing table is known in whatever language the server speaks`(message: String) {
        let error = PostgresError.server(ServerError(sqlState: "42P01", message: message))
        #expect(SchemaError(error) == .missingTable("agent_tasks", migration: "0001_core.sql"))
    }
}
