import Synchronization
import TestServers
import Testing
import Vitals

@testable import AppCore

/// One run of one task, without a worker around it: its rounds, and what comes of a failure.
@Suite("A run of a task")
struct TaskRunTests {
    /// Counts in the result how often a round has come to it, and notes how far the task is said to be then.
    private struct Counting: TaskHandler {
        let type = "counting"
        let look: @Sendable () async throws -> Void

        var steps: [TaskStep] {
            [
                TaskStep("count") { _, findings in
                    findings.figures["found"] = .integer((findings.figures["found"]?.intValue ?? 0) + 1)
                },
                TaskStep("look") { _, _ in try await look() },
            ]
        }
    }

    private static func claimed(_ type: String = OneStep.type, _ params: JSONValue = [:], by store: AgentTaskStore, in scene: TaskScene) async throws -> AgentTask {
        _ = try await store.create(NewAgentTask(workspaceID: scene.workspace, type: type, params: params))
        return try #require(try await store.claim(as: "one").first).task
    }

    private static func run(
        _ task: AgentTask, of store: AgentTaskStore, failures: Int = 0, attempts: Int = 5, time: any TimeSource = SystemTime()
    ) async {
        store.roster.enter(task.held, requested: task.requested)
        await TaskRun(
            store: store, task: task, failures: failures, configuration: TaskConfiguration(attempts: attempts), meters: TaskMeters(), time: time,
            logger: .quiet, stopping: { false }
        ).run()
    }

    /// Seconds from now until it may be claimed again.
    private static func pause(_ scene: TaskScene) async throws -> Double {
        let rows = try await scene.application.database.query(
            "SELECT extract(epoch FROM queued_at - updated_at)::float8 AS pause FROM agent_tasks WHERE state = 'queued'", for: "test")
        return try #require(rows.first, "it is not queued").double("pause")
    }

    @Test("after a failure a task rests, each time a second longer", arguments: [0, 2])
    func rests(failures: Int) async throws {
        try await TaskScene.with { scene in
            let store = scene.store([OneStep { throw PostgresError.connectionLost("a blip") }])
            await Self.run(try await Self.claimed(by: store, in: scene), of: store, failures: failures)
            let pause = try await Self.pause(scene)
            #expect(abs(pause - Double(failures + 1)) < 0.01, "\(pause)")
            #expect(try await scene.count("failures = 1") == 1)
        }
    }

    @Test("without a connection a task rests for as many seconds as it was begun, and half a minute at most", arguments: [(1, 1.0), (7, 7), (90, 30)])
    func restsWithoutConnection(attempt: Int, pause: Double) async throws {
        try await TaskScene.with { scene in
            let store = scene.store([OneStep { throw PoolError.databaseUnavailable(cause: "refused", since: .zero, nextAttemptIn: .zero) }])
            _ = try await store.create(NewAgentTask(workspaceID: scene.workspace, type: OneStep.type))
            _ = try await scene.application.database.execute("UPDATE agent_tasks SET attempt = \(attempt - 1)", for: "test")
            await Self.run(try #require(try await store.claim(as: "one").first).task, of: store)
            let found = try await Self.pause(scene)
            #expect(abs(found - pause) < 0.01, "\(found)")
        }
    }

    @Test("the last attempt that a task has is its last", arguments: [(1, AgentTask.State.queued), (2, .failed)])
    func lastAttempt(failures: Int, state: AgentTask.State) async throws {
        try await TaskScene.with { scene in
            let store = scene.store([OneStep { throw PostgresError.connectionLost("a blip") }])
            let task = try await Self.claimed(by: store, in: scene)
            await Self.run(task, of: store, failures: failures, attempts: 3)
            #expect(try await store.find(task.id).state == state)
        }
    }

    @Test("each round begins anew, and progress is counted over all of them")
    func rounds() async throws {
        try await TaskScene.with { scene in
            let seen = Mutex<[Double]>([])
            let store = scene.store([
                Counting {
                    let rows = try await scene.application.database.query("SELECT progress FROM agent_tasks", for: "test")
                    let progress = try #require(rows.first).double("progress")
                    seen.withLock { $0.append(progress) }
                }
            ])
            let task = try await Self.claimed("counting", ["rounds": 4], by: store, in: scene)
            await Self.run(task, of: store)
            let done = try await store.find(task.id)
            #expect(done.state == .completed && done.result == ["found": 1, "rounds": 4], "\(done)")
            #expect(seen.withLock { $0 } == [0.125, 0.375, 0.625, 0.875])
        }
    }

    @Test("a task that rests between two rounds looks up each second")
    func looksUp() async throws {
        try await TaskScene.with { scene in
            let (time, ended) = (ManualTime(now: .now()), Counter())
            let store = scene.store([OneStep {}])
            let task = try await Self.claimed(OneStep.type, ["rounds": 2, "interval": "60s"], by: store, in: scene)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    await Self.run(task, of: store, time: time)
                    ended.add()
                }
                try await time.untilAsleep()
                _ = try await store.cancel(task.id)
                time.advance(by: .seconds(1))
                try await until("it has ended") { ended.value == 1 }
            }
            #expect(try await store.find(task.id).state == .cancelled)
        }
    }
}
