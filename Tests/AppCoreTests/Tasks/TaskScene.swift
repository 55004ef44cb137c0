import Logging
import Synchronization
import TestServers
import Testing
import Vitals

@testable import AppCore

/// A step that a test lets go on.
final class Held: Sendable {
    private let count = Counter()
    private let isReleased = Atomic(false)

    var entered: Int { count.value }

    func hold() async throws {
        count.add()
        try await until("the step is let go on") { isReleased.load(ordering: .relaxed) }
    }

    func release() { isReleased.store(true, ordering: .relaxed) }
}

struct OneStep: TaskHandler {
    static let type = "one-step"

    var type: String { Self.type }
    let steps: [TaskStep]

    init(_ perform: @escaping @Sendable () async throws -> Void) {
        steps = [TaskStep("only") { _, _ in try await perform() }]
    }
}

/// One workspace, and workers as other processes have them: each store has a roster of its own.
struct TaskScene: Sendable {
    let application: TestApplication
    let workspace: Workspace.ID

    /// Each scene has a database of its own: none of them does anything to the server.
    private static let shared = SharedServer()

    static func with(_ body: @Sendable (TaskScene) async throws -> Void) async throws {
        try await with(try await shared.get(), body)
    }

    static func with(_ server: TestPostgres, _ body: @Sendable (TaskScene) async throws -> Void) async throws {
        try await TestApplication.with(server) { application in
            let workspace = try await application.workspaces.create(NewWorkspace(name: "One", ticker: "ACME"))
            try await body(TaskScene(application: application, workspace: workspace.id))
        }
    }

    func store(_ handlers: [any TaskHandler] = TaskHandlers.all) -> AgentTaskStore {
        AgentTaskStore(database: application.database, hub: application.hub, handlers: handlers)
    }

    /// One more task, claimed.
    func claimed(by store: AgentTaskStore, as worker: String) async throws -> AgentTask {
        let task = try await store.create(NewAgentTask(workspaceID: workspace, type: "risk-assessment"))
        return try #require(try await store.claim(as: worker).first { $0.task.id == task.id }).task
    }

    func worker(_ store: AgentTaskStore, attempts: Int = 5, step: Duration = .seconds(30)) -> TaskWorker {
        TaskWorker(
            store: store, configuration: TaskConfiguration(lease: .seconds(1), step: step, poll: .milliseconds(50), attempts: attempts), name: "worker",
            logger: Logger(label: "test"))
    }

    func working(_ store: AgentTaskStore, _ body: @Sendable () async throws -> Void) async throws {
        try await working(worker(store), body)
    }

    func working(_ worker: TaskWorker, _ body: @Sendable () async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await worker.run() }
            defer { worker.stop() }
            try await body()
            worker.stop()
            try await group.waitForAll()
        }
    }

    /// As if nobody had been able to renew them for as long as they last.
    func endLeases(of task: AgentTask.ID? = nil) async throws {
        let which: SQL = if let task { "id = \(task)" } else { "true" }
        _ = try await application.database.execute(
            "UPDATE agent_tasks SET lease_ends_at = now() - interval '1 second' WHERE state = 'running' AND \(fragment: which)", for: "test")
    }

    func count(_ condition: String, in table: String = "agent_tasks") async throws -> Int {
        let rows = try await application.database.query(
            "SELECT count(*) AS n FROM \(unescaped: table) WHERE \(unescaped: condition)", for: "test")
        return try #require(rows.first).int("n")
    }
}

extension AgentTaskStore {
    func claim(as worker: String, maxAttempts: Int = 5) async throws -> [Claim] {
        try await claim(limit: 10, perWorkspace: 10, worker: worker, lease: .seconds(60), maxAttempts: maxAttempts)
    }
}
