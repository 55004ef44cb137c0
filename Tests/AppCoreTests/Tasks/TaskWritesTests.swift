import Logging
import Synchronization
import TestServers
import Testing
import Vitals

@testable import AppCore

@Suite("What agent tasks write")
struct TaskWritesTests {
    private struct Once: TaskHandler {
        let type: String
        let fails: Bool

        var steps: [TaskStep] { [TaskStep("only") { _, _ in if fails { throw RequestProblem.invalid(field: "a", reason: "b") } }] }
    }

    @Test func `C1: whoever keeps answers about a workspace is told of a pause whose answer was lost, and of none that was refused`() async throws {
        let server = try await TestPostgres.start()
        try await TestApplication.with(server) { application in
            let told = Mutex<[Workspace.ID]>([])
            let store = AgentTaskStore(database: application.database, hub: application.hub) { id in told.withLock { $0.append(id) } }
            let workspace = try await application.workspaces.create(NewWorkspace(name: "One", ticker: "ACME"))
            let task = try await store.create(NewAgentTask(workspaceID: workspace.id, type: "risk-assessment"))
            told.withLock { $0 = [] }
            await #expect(throws: RequestProblem.self) { _ = try await store.resume(task.id) }
            #expect(told.withLock { $0 } == [])
            try await application.database.withConnection(for: "test") {
                // The connection ends with the COMMIT: nobody is told what became of it.
                try await $0.script(
                    """
                    CREATE FUNCTION leave() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
                    CREATE CONSTRAINT TRIGGER leave AFTER UPDATE ON agent_tasks DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION leave()
                    """)
            }
            await #expect(throws: PostgresError.self) { _ = try await store.pause(task.id) }
            #expect(told.withLock { $0 } == [workspace.id])
        }
    }

    @Test(arguments: [false, true])
    func `whoever keeps answers about a workspace is told when a task of it began and when it ended`(fails: Bool) async throws {
        let server = try await TestPostgres.start()
        try await TestApplication.with(server) { application in
            let told = Mutex<[Workspace.ID]>([])
            let store = AgentTaskStore(
                database: application.database, hub: application.hub, handlers: [Once(type: "once", fails: fails)],
                onWrite: { id in told.withLock { $0.append(id) } })
            let worker = TaskWorker(store: store, name: "writer", logger: Logger(label: "test"))
            let workspace = try await application.workspaces.create(NewWorkspace(name: "One", ticker: "ACME"))
            let task = try await store.create(NewAgentTask(workspaceID: workspace.id, type: "once", autoStart: false))
            #expect(told.withLock { $0 } == [workspace.id])
            _ = try await store.start(task.id)
            #expect(told.withLock { $0 } == [workspace.id, workspace.id])
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await worker.run() }
                let events = try await application.follow(task.id)
                #expect(events.last?.event == (fails ? "task:failed" : "task:completed"))
                worker.stop()
                try await group.waitForAll()
            }
            #expect(told.withLock { $0 } == [workspace.id, workspace.id, workspace.id])
        }
    }

    @Test("a task that is begun again began when it began first, and shows nothing of the run before")
    func begunAgain() async throws {
        try await TaskScene.with { scene in
            let store = scene.store()
            let first = try await scene.claimed(by: store, as: "one")
            _ = try await store.note(.stepStarted, [:], step: "a", progress: 0.5, of: first)
            try await scene.endLeases()
            let second = try #require(try await store.claim(as: "two").first).task
            #expect(second.startedAt == first.startedAt && second.startedAt != nil)
            #expect(second.progress == 0 && second.currentStep == nil)

            _ = try await store.note(.stepStarted, [:], step: "a", progress: 0.5, of: second)
            try await store.giveBack(second, .unfinished)
            let queued = try await store.find(first.id)
            #expect(queued.state == .queued && queued.progress == 0 && queued.currentStep == nil)
            // A pause is no end: it shows how far it has come.
            let third = try #require(try await store.claim(as: "one").first).task
            _ = try await store.note(.stepStarted, [:], step: "b", progress: 0.25, of: third)
            _ = try await store.pause(first.id)
            try await store.giveBack(third, .unfinished)
            let paused = try await store.find(first.id)
            #expect(paused.state == .paused && paused.progress == 0.25 && paused.currentStep == "b")
        }
    }

    @Test("a task that failed is in the log as failed, with its reason")
    func failureInLog() async throws {
        try await TaskScene.with { scene in
            let store = scene.store()
            let task = try await scene.claimed(by: store, as: "one")
            try await store.fail(task, reason: "no market days")
            #expect(try await scene.count("true", in: "ai_audit_logs") == 1)
            #expect(try await scene.count("action = 'risk-assessment.failed' AND summary = 'no market days'", in: "ai_audit_logs") == 1)
        }
    }

    @Test("whoever keeps answers about a workspace is told when a task of it is given back")
    func givenBack() async throws {
        try await TaskScene.with { scene in
            let told = Mutex<[Workspace.ID]>([])
            let store = AgentTaskStore(database: scene.application.database, hub: scene.application.hub) { id in told.withLock { $0.append(id) } }
            let task = try await scene.claimed(by: store, as: "one")
            _ = try await store.pause(task.id)
            told.withLock { $0 = [] }
            #expect(try await store.giveBack(task, .unfinished) == .pause)
            #expect(told.withLock { $0 } == [scene.workspace])
        }
    }

    @Test("work that is put there, started or resumed wakes the worker of this process; what waits to be started does not")
    func wakes() async throws {
        try await TaskScene.with { scene in
            /// How often the worker is woken meanwhile: once, however often it is called.
            func wakeups(_ work: (AgentTaskStore) async throws -> Void) async throws -> Int {
                let store = scene.store()
                try await work(store)
                store.roster.close()
                var count = 0
                for await _ in store.roster.workIsThere { count += 1 }
                return count
            }
            let other = scene.store()
            func new(autoStart: Bool) -> NewAgentTask { NewAgentTask(workspaceID: scene.workspace, type: "risk-assessment", autoStart: autoStart) }
            let waiting = try await other.create(new(autoStart: false))
            #expect(try await wakeups { _ = try await $0.create(new(autoStart: true)) } == 1)
            #expect(try await wakeups { _ = try await $0.create(new(autoStart: false)) } == 0)
            #expect(try await wakeups { _ = try await $0.start(waiting.id) } == 1)
            #expect(try await wakeups { _ = try await $0.pause(waiting.id) } == 0)
            #expect(try await wakeups { _ = try await $0.resume(waiting.id) } == 1)
        }
    }
}
