import Logging
import TestServers
import Testing
import Vitals

@testable import AppCore

/// Followers of tasks, on a real database.
@Suite("The event hub")
struct EventHubTests {
    /// Over a pool with room for two, and for eight who wait.
    private static func withSmallPool(_ body: @Sendable (TestApplication) async throws -> Void) async throws {
        let pool = PoolConfiguration(max: 2, deadline: .seconds(60), waiters: 8, reserved: 0)
        try await TestApplication.with(try await TestPostgres.start(), pool: pool, body)
    }

    /// What each follower is told first, all of them at once.
    private static func firstWords(of hub: EventHub, to tasks: [AgentTask]) async throws -> [[String?]] {
        try await withThrowingTaskGroup(of: [String?].self) { group in
            for task in tasks {
                group.addTask {
                    var events = try await hub.stream(of: task.id).makeAsyncIterator()
                    return [await events.next()?.event, await events.next()?.event]
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
    }

    @Test("T4: six hundred followers of one task who come at once are all let in, by a pool that has room for ten")
    func manyOfOne() async throws {
        try await Self.withSmallPool { application in
            let hub = application.hub
            let workspace = try await application.workspaces.create(NewWorkspace(name: "One", ticker: "ACME"))
            let task = try await application.tasks.create(NewAgentTask(workspaceID: workspace.id, type: "risk-assessment"))
            _ = try await application.tasks.cancel(task.id)
            let words = try await Self.firstWords(of: hub, to: Array(repeating: task, count: 600))
            #expect(words.count == 600 && words.allSatisfy { $0 == ["task:state", "task:cancelled"] })
            #expect(hub.statistics().clients == 0)
        }
    }

    @Test("T4: followers of many tasks wait for their turn, and are not turned away")
    func manyOfMany() async throws {
        try await Self.withSmallPool { application in
            let hub = application.hub
            let workspace = try await application.workspaces.create(NewWorkspace(name: "One", ticker: "ACME"))
            var tasks: [AgentTask] = []
            for _ in 0..<60 {
                let task = try await application.tasks.create(NewAgentTask(workspaceID: workspace.id, type: "risk-assessment"))
                tasks.append(try await application.tasks.cancel(task.id))
            }
            let words = try await Self.firstWords(of: hub, to: tasks)
            #expect(words.count == 60 && words.allSatisfy { $0 == ["task:state", "task:cancelled"] })
        }
    }

    @Test("T5: a stream whose task is deleted says so and ends, also when the task was finished", arguments: [false, true])
    func deletion(isFinished: Bool) async throws {
        let server = try await TestPostgres.start()
        try await TestApplication.with(server) { application in
            let workspace = try await application.workspaces.create(NewWorkspace(name: "One", ticker: "ACME"))
            let other = try await application.workspaces.create(NewWorkspace(name: "Two", ticker: "ACME"))
            let task = try await application.tasks.create(NewAgentTask(workspaceID: workspace.id, type: "risk-assessment"))
            let survivor = try await application.tasks.create(NewAgentTask(workspaceID: other.id, type: "risk-assessment"))
            if isFinished { _ = try await application.tasks.cancel(task.id) }

            var events = try await application.hub.stream(of: task.id).makeAsyncIterator()
            var others = try await application.hub.stream(of: survivor.id).makeAsyncIterator()
            #expect(await events.next()?.event == "task:state")
            #expect(await others.next()?.event == "task:state")
            if isFinished { #expect(await events.next()?.event == "task:cancelled") }

            try await application.database.execute("DELETE FROM workflows WHERE id = \(workspace.id)", for: "test")
            let last = try #require(await events.next())
            #expect(last.event == "task:deleted" && last.data.contains(task.id.rawValue) && last.data.contains("does not exist any more"))
            #expect(await events.next() == nil)
            // Nobody else's stream ends.
            _ = try await application.tasks.cancel(survivor.id)
            #expect(await others.next()?.event == "task:cancelled")
            await #expect(throws: RequestProblem.self) { _ = try await application.hub.stream(of: task.id) }
        }
    }

    @Test("T5: a stream whose task is deleted while its reader is behind says so and ends")
    func deletionWhileReplaying() async throws {
        try await TestApplication.with(try await TestPostgres.start()) { application in
            let workspace = try await application.workspaces.create(NewWorkspace(name: "One", ticker: "ACME"))
            let task = try await application.tasks.create(NewAgentTask(workspaceID: workspace.id, type: "risk-assessment"))
            var events = try await application.hub.stream(of: task.id).makeAsyncIterator()
            #expect(await events.next()?.event == "task:state")
            _ = try await application.tasks.cancel(task.id)
            try await application.database.execute("DELETE FROM workflows WHERE id = \(workspace.id)", for: "test")
            #expect(await events.next()?.event == "task:deleted")
            #expect(await events.next() == nil)
        }
    }

    @Test("what another process writes at once is more than is kept for a reader, and its readers miss nothing")
    func muchAtOnce() async throws {
        try await TestApplication.with(try await TestPostgres.start()) { application in
            let workspace = try await application.workspaces.create(NewWorkspace(name: "One", ticker: "ACME"))
            let task = try await application.tasks.create(NewAgentTask(workspaceID: workspace.id, type: "risk-assessment"))
            _ = try await application.tasks.pause(task.id)
            var events = try await application.hub.stream(of: task.id).makeAsyncIterator()
            #expect(await events.next()?.event == "task:state")
            #expect(await events.next()?.event == "task:paused")
            // It follows live now. All of it is committed at once, past this process.
            try await application.database.execute(
                """
                WITH more AS (UPDATE agent_tasks SET event_sequence = 1500 WHERE id = \(task.id))
                INSERT INTO agent_task_events (task_id, sequence, kind) SELECT \(task.id), n, 'step:completed' FROM generate_series(2, 1500) n
                """, for: "test")
            for number in 2...1500 {
                let id = try #require(await events.next(), "it ended before \(number)").id
                #expect(id == "boot-\(number)")
            }
            #expect(application.hub.statistics().dropped == 0)
        }
    }

    @Test("that stored events cannot be read is told once, however many followers meet it")
    func cannotReplay() async throws {
        let log = LogLines()
        let server = try await TestPostgres.start()
        try await TestApplication.with(server, log: log) { application in
            let workspace = try await application.workspaces.create(NewWorkspace(name: "One", ticker: "ACME"))
            let task = try await application.tasks.create(NewAgentTask(workspaceID: workspace.id, type: "risk-assessment"))
            var followers: [TaskEventStream.Iterator] = []
            for _ in 0..<20 {
                followers.append(try await application.hub.stream(of: task.id).makeAsyncIterator())
                #expect(await followers[followers.count - 1].next()?.event == "task:state")
            }
            try await application.database.execute("ALTER TABLE agent_task_events RENAME TO elsewhere", for: "test")
            for index in followers.indices { #expect(await followers[index].next() == nil) }
            #expect(log.all.filter { $0.contains("stored events cannot be read") }.count == 1)

            // The next time it is news again.
            try await application.database.execute("ALTER TABLE elsewhere RENAME TO agent_task_events", for: "test")
            _ = try await application.tasks.cancel(task.id)
            #expect(try await application.follow(task.id).last?.event == "task:cancelled")
            var late = try await application.hub.stream(of: task.id).makeAsyncIterator()
            #expect(await late.next()?.event == "task:state")
            try await application.database.execute("ALTER TABLE agent_task_events RENAME TO elsewhere", for: "test")
            #expect(await late.next() == nil)
            #expect(log.all.filter { $0.contains("stored events cannot be read") }.count == 2)
        }
    }

    @Test func `a reader that has all events goes on from there, and does not begin anew`() async throws {
        try await TestApplication.with(try await TestPostgres.start()) { application in
            let workspace = try await application.workspaces.create(NewWorkspace(name: "One", ticker: "ACME"))
            let task = try await application.tasks.create(NewAgentTask(workspaceID: workspace.id, type: "risk-assessment"))
            _ = try await application.tasks.pause(task.id)
            let stream = try await application.hub.stream(of: task.id, lastEventID: "boot-1")
            #expect(stream.prelude.map(\.event) == ["task:state"] && stream.subscription.position == .replaying(after: 1))
            let resumes = application.hub.statistics().resumes
            #expect(resumes[.complete] == 1 && resumes[.gap] == 0)
        }
    }

    @Test func `so many streams may be open and not one more, until one is given back`() async throws {
        try await TestApplication.with(try await TestPostgres.start()) { application in
            let hub = EventHub(database: application.database, bootID: "boot", streams: 2, logger: .quiet)
            let workspace = try await application.workspaces.create(NewWorkspace(name: "One", ticker: "ACME"))
            let task = try await application.tasks.create(NewAgentTask(workspaceID: workspace.id, type: "risk-assessment"))
            var open = [try await hub.stream(of: task.id), try await hub.stream(of: task.id)]
            await #expect(throws: EventHub.TooManyStreams.self) { _ = try await hub.stream(of: task.id) }
            #expect(hub.statistics().clients == 2)
            open.removeLast()
            open.append(try await hub.stream(of: task.id))
            #expect(hub.statistics().clients == open.count)
        }
    }

    @Test func `of several readers of a task each gets what it has missed, also when another has it`() async throws {
        try await TestApplication.with(try await TestPostgres.start()) { application in
            let time = ManualTime()
            let hub = EventHub(database: application.database, bootID: "boot", time: time, logger: .quiet)
            let workspace = try await application.workspaces.create(NewWorkspace(name: "One", ticker: "ACME"))
            let task = try await application.tasks.create(NewAgentTask(workspaceID: workspace.id, type: "risk-assessment"))
            let (ahead, behind) = (try await hub.stream(of: task.id), try await hub.stream(of: task.id))
            for stream in [ahead, behind] { stream.subscription.replayed(through: 0, isLast: true) }
            // Stored past this hub, and come to one of the two alone.
            _ = try await application.tasks.pause(task.id)
            _ = ahead.subscription.offer([TaskEvent(taskID: task.id, sequence: 1, kind: .taskPaused, payload: [:], at: time.wallNow())])
            #expect(ahead.subscription.lastSeenWhileLive == 1 && behind.subscription.lastSeenWhileLive == 0)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await hub.run() }
                try await time.untilAsleep()
                time.advance(by: .seconds(1))
                try await until("it has it, too") { behind.subscription.lastSeenWhileLive == 1 }
                group.cancelAll()
            }
        }
    }

    @Test("J3: a stream begins with the task, and not with all that the task was given and has found")
    func briefState() async throws {
        let server = try await TestPostgres.start()
        try await TestApplication.with(server) { application in
            let workspace = try await application.workspaces.create(NewWorkspace(name: "One", ticker: "ACME"))
            let task = try await application.tasks.create(NewAgentTask(workspaceID: workspace.id, type: "risk-assessment", params: ["days": 100]))
            func state() async throws -> JSONValue? {
                var events = try await application.hub.stream(of: task.id).makeAsyncIterator()
                return await events.next().flatMap { JSONValue(text: $0.data) }
            }
            #expect(try await state()?["params"] == ["days": 100])
            try await application.database.execute(
                "UPDATE agent_tasks SET result = jsonb_build_object('all', repeat('a', 500000)) WHERE id = \(task.id)", for: "test")
            let long = try await state()
            #expect(long?["result"] == nil && long?["omitted"]?["result"] == 500_011 && long?["state"] == "queued")
        }
    }

    @Test("J3: an event carries to all who follow what it can carry, and of the rest the length")
    func longEvents() async throws {
        let server = try await TestPostgres.start()
        try await TestApplication.with(server) { application in
            let workspace = try await application.workspaces.create(NewWorkspace(name: "One", ticker: "ACME"))
            let task = try await application.tasks.create(NewAgentTask(workspaceID: workspace.id, type: "risk-assessment"))
            let claims = try await application.tasks.claim(limit: 1, perWorkspace: 1, worker: "one", lease: .seconds(60), maxAttempts: 5)
            let claimed = try #require(claims.first?.task)
            let long = String(repeating: "a", count: 500_000)
            // Live to one who is there, and stored for one who comes later.
            var live = try await application.hub.stream(of: task.id).makeAsyncIterator()
            #expect(await live.next()?.event == "task:state")
            #expect(await live.next()?.event == "task:started")
            try await application.tasks.complete(claimed, result: ["all": .string(long)], summary: "done")
            let stored = try await application.follow(task.id)
            for event in [await live.next(), stored.last] {
                #expect(event?.event == "task:completed")
                let omitted = event.flatMap { JSONValue(text: $0.data) }?["payload"]?["omitted"]?.intValue
                #expect((omitted ?? 0) > 500_000, "\(event?.data.prefix(300) ?? "")")
            }
            #expect(try await application.tasks.find(task.id).result == ["all": .string(long)])
        }
    }
}
