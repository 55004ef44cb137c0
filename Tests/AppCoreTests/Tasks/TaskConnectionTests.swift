import TestServers
import Testing
import Vitals

@testable import AppCore

/// What becomes of a task when there is no connection for it.
@Suite("Agent tasks without a connection")
struct TaskConnectionTests {
    @Test("T2: a connection that we did not have is no failure of the task", arguments: [
        PoolError.saturated(PoolPicture(leased: 1, idle: 0, connecting: 0, waiting: 1, max: 1), waited: .zero, retryAfter: .zero),
        .databaseUnavailable(cause: "refused", since: .zero, nextAttemptIn: .zero),
    ])
    func noConnection(error: PoolError) async throws {
        try await TaskScene.with { scene in
            let tries = Counter()
            let store = scene.store([
                OneStep {
                    tries.add()
                    if tries.value == 1 { throw error }
                }
            ])
            try await scene.working(scene.worker(store, attempts: 1)) {
                let task = try await store.create(NewAgentTask(workspaceID: scene.workspace, type: OneStep.type))
                #expect(try await scene.application.follow(task.id).last?.event == "task:completed")
                #expect(try await scene.count("failures = 0 AND attempt = 2") == 1)
            }
        }
    }

    @Test("T2: a step that has used up its own time when there is no connection for it has failed")
    func stepOutOfTime() async throws {
        try await TaskScene.with { scene in
            let store = scene.store([
                OneStep {
                    let deadline = try #require(Deadline.current)
                    try await until("its time is over") { deadline.hasPassed(at: .now()) }
                    throw PoolError.saturated(
                        PoolPicture(leased: 1, idle: 0, connecting: 0, waiting: 1, max: 1), waited: .zero, retryAfter: .zero, reason: .tooLate)
                }
            ])
            try await scene.working(scene.worker(store, attempts: 1, step: .milliseconds(300))) {
                let task = try await store.create(NewAgentTask(workspaceID: scene.workspace, type: OneStep.type))
                try await until("it has failed") { try await store.find(task.id).state == .failed }
                #expect(try await store.find(task.id).error?.hasPrefix("step only has had") == true)
            }
        }
    }

    @Test("T2: nor is it one that there was no connection to say how the attempt ended, however long")
    func noConnectionToGiveBack() async throws {
        let server = try await TestPostgres.start()
        try await TaskScene.with(server) { scene in
            let name = try #require(try await scene.application.database.query("SELECT current_database() AS name", for: "test").first).string("name")
            // The worker's own, which the test takes away from it, also from those who renew leases.
            try await withPool(PoolConfiguration(max: 1, deadline: .milliseconds(300), reserved: 0), server.endpoint(["dbname": name])) { database in
                let step = Held()
                let store = AgentTaskStore(database: database, hub: scene.application.hub, handlers: [OneStep { try await step.hold() }])
                let task = try await scene.store([OneStep {}]).create(NewAgentTask(workspaceID: scene.workspace, type: OneStep.type))
                let worker = scene.worker(store, attempts: 1)
                try await scene.working(worker) {
                    try await until("it runs") { step.entered == 1 }
                    try await database.withConnection(for: "hold", within: .seconds(60)) { _ in
                        step.release()
                        try await until("its lease is over") { try await scene.count("state = 'running' AND lease_ends_at < now()") == 1 }
                    }
                    #expect(try await scene.application.follow(task.id).last?.event == "task:completed")
                    #expect(try await scene.count("failures = 0 AND attempt = 2") == 1)
                }
            }
        }
    }
}
