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
