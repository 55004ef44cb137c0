import Logging
import Synchronization
import TestServers
import Testing

@testable import AppCore

@Suite("The class of agent tasks")
struct TaskClassTests {
    private struct Recorder: TaskHandler {
        let type = "recorder"
        let seen: Seen

        var steps: [TaskStep] { [TaskStep("look") { _, _ in seen.note("\(Work.workClass), \(Work.detail ?? "-")") }] }
    }

    private final class Seen: Sendable {
        private let texts = Mutex<[String]>([])

        func note(_ text: String) { texts.withLock { $0.append(text) } }
        var all: [String] { texts.withLock { $0 } }
    }

    @Test func `nobody waits for a task, so it is background`() async throws {
        let server = try await TestPostgres.start()
        try await TestApplication.with(server) { application in
            let seen = Seen()
            let store = AgentTaskStore(database: application.database, hub: application.hub, handlers: [Recorder(seen: seen)])
            let worker = TaskWorker(store: store, name: "recorder", logger: Logger(label: "test"))
            let workspace = try await application.workspaces.create(NewWorkspace(name: "One", ticker: "ACME"))
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await worker.run() }
                let task = try await store.create(NewAgentTask(workspaceID: workspace.id, type: "recorder"))
                _ = try await application.follow(task.id)
                worker.stop()
                try await group.waitForAll()
                #expect(seen.all == ["background, task \(task.id)"])
            }
        }
    }
}
