import FoundationEssentials
import TestServers
import Testing
import Vitals

@testable import AppCore

/// Workspaces through the cache, with real servers and real faults.
@Suite("Workspaces and their cache")
struct WorkspaceCacheTests {
    @Test func `two hundred readers at once cost one load`() async throws {
        let server = try await TestPostgres.start()
        try await TestApplication.with(server, redis: try await TestRedis.start()) { application in
            try await application.untilRedisIsUp()
            // Through another store, so that this one's cache is cold.
            let elsewhere = WorkspaceStore(database: application.database, cache: TieredCache(redis: nil))
            let workspace = try await elsewhere.create(NewWorkspace(name: "One", ticker: "ACME"))
            let before = application.cache.statistics()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<200 {
                    group.addTask {
                        let found = try await application.workspaces.find(workspace.id)
                        #expect(found.name == "One")
                    }
                }
                try await group.waitForAll()
            }
            let after = application.cache.statistics()
            #expect(after.loads - before.loads == 1)
        }
    }

    @Test func `an update is never followed by an older value`() async throws {
        let server = try await TestPostgres.start()
        try await TestApplication.with(server, redis: try await TestRedis.start()) { application in
            try await application.untilRedisIsUp()
            let workspace = try await application.workspaces.create(NewWorkspace(name: "v0", ticker: "ACME"))
            for number in 1...20 {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    // Readers on their way while the row changes.
                    for _ in 0..<10 { group.addTask { _ = try await application.workspaces.find(workspace.id) } }
                    _ = try await application.workspaces.update(workspace.id, WorkspacePatch(name: "v\(number)"))
                    #expect(try await application.workspaces.find(workspace.id).name == "v\(number)")
                    try await group.waitForAll()
                }
                #expect(try await application.workspaces.find(workspace.id).name == "v\(number)")
            }
        }
    }

    @Test func `a workspace is kept under its number, and its tasks, snapshots and log carry it`() async throws {
        let server = try await TestPostgres.start()
        let redis = try await TestRedis.start()
        try await TestApplication.with(server, redis: redis) { application in
            try await application.untilRedisIsUp()
            let workspace = try await application.workspaces.create(NewWorkspace(name: "One", ticker: "ACME"))
            #expect(workspace.id == .first)
            #expect(try await application.workspaces.find(workspace.id) == workspace)
            try await until("it is in Redis") { try await redis.command("EXISTS", "workspace:1") == "1" }
            // Through Redis alone, as another process would.
            let elsewhere = TieredCache(redis: application.redis)
            #expect(try await WorkspaceStore(database: application.database, cache: elsewhere).find(workspace.id) == workspace)

            let snapshot = try await application.addSnapshot(#"{"type":"note","payload":{}}"#, to: workspace.id)
            let task = try await application.tasks.create(NewAgentTask(workspaceID: workspace.id, type: "risk-assessment", autoStart: false))
            #expect(task.workspaceID == workspace.id)
            for told in [snapshot, String(decoding: try JSONEncoder().encode(task), as: UTF8.self)] {
                #expect(JSONValue(text: told)?["workspaceId"] == 1)
            }
        }
    }

    @Test("C4: a new workspace is told as it is, though its number was another's: in this process, in Redis, in the next one", arguments: [true, false])
    func numberGivenAgain(isInMemory: Bool) async throws {
        let server = try await TestPostgres.start()
        let redis = try await TestRedis.start()
        try await TestApplication.with(server, redis: redis) { application in
            try await application.untilRedisIsUp()
            // Redis has it, and this process as well or not.
            let elsewhere = TieredCache(redis: application.redis)
            let before = isInMemory ? application.workspaces : WorkspaceStore(database: application.database, cache: elsewhere)
            let lost = try await before.create(NewWorkspace(name: "lost", ticker: "ACME"))
            for number in 1...5 { _ = try await before.update(lost.id, WorkspacePatch(name: "lost \(number)")) }
            #expect(try await redis.command("GET", "workspace:1").contains("lost 5"))
            // As a restore leaves it.
            try await application.database.execute("TRUNCATE workflows RESTART IDENTITY CASCADE", for: "restore")
            let new = try await application.workspaces.create(NewWorkspace(name: "new", ticker: "NVDA"))
            #expect(new.id == lost.id)
            #expect(try await application.workspaces.find(new.id) == new && application.workspaces.newestVersion(of: new.id) == new.version)
            #expect(try await !redis.command("GET", "workspace:1").contains("lost"))
            let next = TieredCache(redis: application.redis)
            try await running(next) { () async throws in
                #expect(try await WorkspaceStore(database: application.database, cache: next).find(new.id) == new)
            }
        }
    }

    @Test("C4: a load of the lost one that is under way brings nothing back")
    func slowLoadOfTheLost() async throws {
        let cache = TieredCache(redis: nil)
        let row = CachedRow(CachedRow.Note(version: 7, text: "lost"))
        let load = HeldLoad(of: row)
        try await running(cache) {
            async let slow = cache.value(for: "a", load: load.load)
            await load.untilRead()
            await cache.storeNew(CachedRow.Note(version: 1, text: "new"), for: "a", asked: .now())
            load.release()
            // Whoever waited for it gets the new one, too.
            let told = try await slow.value.text
            #expect(told == "new")
            #expect(try await cache.value(for: "a", load: row.read).value.text == "new")
            #expect(cache.newestVersion(for: "a") == 1 && row.reads == 1)
            // Nor does a copy that was taken from Redis while the new one was made.
            let began = MonotonicInstant.now()
            #expect(try await cache.value(for: "b", load: row.read).value.version == 7)
            await cache.storeNew(CachedRow.Note(version: 1, text: "new"), for: "b", asked: began)
            #expect(try await cache.value(for: "b", load: row.read).value.text == "new")
        }
    }

    @Test func `reads go on while Redis is frozen or gone`() async throws {
        let server = try await TestPostgres.start()
        let redis = try await TestRedis.start()
        try await TestApplication.with(server, redis: redis) { application in
            try await application.untilRedisIsUp()
            let first = try await application.workspaces.create(NewWorkspace(name: "first", ticker: "ACME"))
            redis.freeze()
            #expect(try await application.workspaces.find(first.id).name == "first")
            let second = try await application.workspaces.create(NewWorkspace(name: "second", ticker: "ACME"))
            #expect(try await application.workspaces.find(second.id).name == "second")
            redis.thaw()
            try await redis.stop()
            #expect(try await application.workspaces.update(second.id, WorkspacePatch(name: "third")).name == "third")
            #expect(try await application.workspaces.find(second.id).name == "third")
        }
    }

    @Test func `what does not exist, and what does not fit, is said`() async throws {
        let server = try await TestPostgres.start()
        try await TestApplication.with(server) { application in
            let nobody = try #require(Workspace.ID(rawValue: .max))
            await #expect(throws: RequestProblem.self) { _ = try await application.workspaces.find(nobody) }
            await #expect(throws: RequestProblem.self) { _ = try await application.workspaces.create(NewWorkspace(name: "", ticker: "ACME")) }
        }
    }

    @Test func `a patch changes what it names and nothing else, whichever member it is`() async throws {
        let server = try await TestPostgres.start()
        try await TestApplication.with(server) { application in
            // Without the cache: what the database has.
            let elsewhere = WorkspaceStore(database: application.database, cache: TieredCache(redis: nil))
            var expected = try await application.workspaces.create(NewWorkspace(name: "One", ticker: "ACME", thesis: "It grows."))
            let id = expected.id
            func change(_ patch: WorkspacePatch, _ change: (inout Workspace) -> Void) async throws {
                let before = expected
                let found = try await application.workspaces.update(id, patch)
                change(&expected)
                expected.version = before.version + 1
                #expect(found.updatedAt > before.updatedAt)
                expected.updatedAt = found.updatedAt
                #expect(found == expected)
            }
            try await change(WorkspacePatch(name: "Two")) { $0.name = "Two" }
            try await change(WorkspacePatch(ticker: "NVDA")) { $0.ticker = "NVDA" }
            try await change(WorkspacePatch(status: .paused)) { $0.status = .paused }
            try await change(WorkspacePatch(thesis: "It falls.")) { $0.thesis = "It falls." }
            await #expect(throws: RequestProblem.self) { try await application.workspaces.update(id, WorkspacePatch()) }
            #expect(try await elsewhere.find(id) == expected)
        }
    }
}
