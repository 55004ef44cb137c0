import Logging
import TestServers
import Testing
import Vitals

@testable import AppCore

/// A look at a workspace is noted, and the look itself has nothing to do with that.
@Suite("Visits")
struct VisitsTests {
    private static let shared = SharedServer()

    /// Takes every row's last visit back by an hour.
    private func age(_ database: Database) async throws {
        try await database.execute("UPDATE workflows SET last_accessed_at = now() - interval '1 hour'", for: "age")
    }

    private func recent(_ database: Database) async throws -> Set<Int> {
        let rows = try await database.query("SELECT id FROM workflows WHERE last_accessed_at > now() - interval '1 minute'", for: "look")
        return try Set(rows.map { row in try row.int("id") })
    }

    @Test("D13: an overview is served while nobody may write: by a lock, by a server that takes no writes")
    func readsDoNotWrite() async throws {
        // A server of its own: its settings are changed.
        let server = try await TestPostgres.start()
        try await TestApplication.with(server, seeded: true) { application in
            let (database, workspaces) = (application.database, application.workspaces)
            try await age(database)
            let ids = try await workspaces.list(limit: 2).map(\.id)
            try await database.withTransaction(for: "lock") { lease in
                // Readers may, writers may not: as while an index is built.
                try await lease.execute("LOCK TABLE workflows IN SHARE MODE")
                _ = try await Deadline.$current.withValue(Deadline(.now() + .seconds(10))) { try await workspaces.overview(ids[0]) }
            }
            try await server.superuserScript("ALTER SYSTEM SET default_transaction_read_only = on; SELECT pg_reload_conf()")
            try await until("a write is refused") { (try? await age(database)) == nil }
            for id in ids { _ = try await workspaces.overview(id) }
            #expect(try await recent(database) == [])
        }
    }

    @Test("D13: visits are written apart from the reads, each workspace once a minute")
    func written() async throws {
        try await TestApplication.with(Self.shared.get(), seeded: true) { application in
            let database = application.database
            let visits = AppCore.Visits(database: database, time: ManualTime(), logger: .quiet)
            let ids = try await application.workspaces.list(limit: 3).map(\.id)
            try await age(database)
            for id in [ids[0], ids[1], ids[0]] { visits.note(id) }
            #expect(await visits.write())
            #expect(try await recent(database) == [ids[0].rawValue, ids[1].rawValue])

            func lastVisit() async throws -> String? {
                try await database.query("SELECT last_accessed_at FROM workflows WHERE id = \(ids[0])", for: "look").first?.string("last_accessed_at")
            }
            let first = try await lastVisit()
            visits.note(ids[0])
            #expect(await visits.write())
            #expect(try await lastVisit() == first)
            try await age(database)
            visits.note(ids[0])
            #expect(await visits.write())
            #expect(try await recent(database) == [ids[0].rawValue])
        }
    }

    @Test("D13: a row that somebody holds is passed over, and what cannot be written keeps nobody: the next visit counts")
    func passedOver() async throws {
        try await TestApplication.with(Self.shared.get(), seeded: true) { application in
            let database = application.database
            let visits = AppCore.Visits(database: database, time: ManualTime(), logger: .quiet)
            let ids = try await application.workspaces.list(limit: 2).map(\.id)
            try await age(database)
            try await database.withTransaction(for: "hold") { lease in
                try await lease.execute("SELECT FROM workflows WHERE id = \(ids[0]) FOR UPDATE")
                for id in ids { visits.note(id) }
                #expect(await visits.write())
                #expect(try await recent(database) == [ids[1].rawValue])
            }
            visits.note(ids[0])
            try await database.withTransaction(for: "lock") { lease in
                try await lease.execute("LOCK TABLE workflows IN SHARE MODE")
                #expect(await visits.write() == false)
            }
            #expect(await visits.write())
            #expect(try await recent(database) == [ids[1].rawValue], "it is let go")
            visits.note(ids[0])
            #expect(await visits.write())
            #expect(try await recent(database) == [ids[0].rawValue, ids[1].rawValue])
        }
    }

    @Test("D13: the overview's visit is written by the store")
    func joined() async throws {
        try await TestApplication.with(Self.shared.get(), seeded: true) { application in
            let (database, workspaces) = (application.database, application.workspaces)
            let id = try #require(try await workspaces.list(limit: 1).first?.id)
            try await age(database)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await workspaces.run() }
                _ = try await workspaces.overview(id)
                try await until("the visit is written") { try await recent(database) == [id.rawValue] }
                group.cancelAll()
            }
        }
    }

    @Test("D13: visits are written each second, and half a minute after a write that failed")
    func rests() async throws {
        try await TestApplication.with(Self.shared.get(), seeded: true) { application in
            let (database, time) = (application.database, ManualTime())
            let visits = AppCore.Visits(database: database, time: time, logger: .quiet)
            let ids = try await application.workspaces.list(limit: 3).map(\.id)
            try await age(database)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await visits.run() }
                /// Notes a visit, lets the time pass, and waits until what is written then is written.
                func note(_ id: Workspace.ID, thenPass duration: Duration) async throws {
                    try await time.untilAsleep()
                    visits.note(id)
                    time.advance(by: duration)
                    try await time.untilAsleep()
                }
                for id in ids[..<2] { try await note(id, thenPass: AppCore.Visits.interval) }
                #expect(try await recent(database) == [ids[0].rawValue, ids[1].rawValue])
                try await database.execute("ALTER TABLE workflows RENAME TO elsewhere", for: "test")
                try await note(ids[2], thenPass: AppCore.Visits.interval)
                try await database.execute("ALTER TABLE elsewhere RENAME TO workflows", for: "test")
                try await note(ids[2], thenPass: AppCore.Visits.interval)
                #expect(try await recent(database) == [ids[0].rawValue, ids[1].rawValue], "it rests")
                try await note(ids[2], thenPass: AppCore.Visits.rest)
                #expect(try await recent(database) == Set(ids.map(\.rawValue)))
                group.cancelAll()
            }
        }
    }
}
