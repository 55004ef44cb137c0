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
}
