import TestServers
import Testing
import Vitals

@testable import AppCore

/// What a worker does by its clock, which the test moves: it holds on to what it runs, and hears what was asked of it elsewhere.
@Suite("A worker's clock")
struct TaskClockTests {
    /// A worker that has begun one task, whose step goes on until it is let go.
    private struct Play: Sendable {
        let scene: TaskScene
        let time: ManualTime
        let worker: TaskWorker
        let store: AgentTaskStore
        let step: Held
        let task: AgentTask

        var held: HeldTask { HeldTask(id: task.id, attempt: 1) }

        /// As if its lease had been renewed a while ago.
        func letLeaseRunDown() async throws {
            _ = try await scene.application.database.execute("UPDATE agent_tasks SET lease_ends_at = now() + interval '2 seconds'", for: "test")
        }

        func untilRenewed() async throws {
            try await until("the lease is renewed") { try await scene.count("lease_ends_at > now() + interval '5 seconds'") == 1 }
        }
    }

    private static let lease = Duration.seconds(15)

    private static func worker(_ store: AgentTaskStore, concurrency: Int = 50, _ time: ManualTime) -> TaskWorker {
        TaskWorker(
            store: store, configuration: TaskConfiguration(concurrency: concurrency, lease: lease, poll: .seconds(1)), name: "worker", time: time,
            logger: .quiet)
    }

    /// Runs the worker while `body` plays, and on until it has ended: whether it is to stop it looks when time passes.
    private static func working(_ worker: TaskWorker, _ time: ManualTime, _ body: () async throws -> Void) async throws {
        let ended = Counter()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                await worker.run()
                ended.add()
            }
            try await body()
            worker.stop()
            try await until("the worker has ended") {
                time.advance(by: .milliseconds(200))
                return ended.value == 1
            }
            try await group.waitForAll()
        }
    }

    private static func play(_ body: @escaping @Sendable (Play) async throws -> Void) async throws {
        try await TaskScene.with { scene in
            let (time, step) = (ManualTime(now: .now()), Held())
            let store = scene.store([OneStep { try await step.hold() }])
            let worker = Self.worker(store, time)
            let task = try await store.create(NewAgentTask(workspaceID: scene.workspace, type: OneStep.type))
            try await working(worker, time) {
                try await until("it runs") { step.entered == 1 }
                try await time.untilAsleep()
                try await body(Play(scene: scene, time: time, worker: worker, store: store, step: step, task: task))
                step.release()
            }
        }
    }

    @Test("a lease is renewed when a third of it is over")
    func renewed() async throws {
        try await Self.play { play in
            try await play.letLeaseRunDown()
            play.time.advance(by: Self.lease / 3)
            try await play.untilRenewed()
        }
    }

    @Test("a renewal that failed is tried again at the next poll")
    func renewedAfterFailure() async throws {
        try await Self.play { play in
            let database = play.scene.application.database
            try await database.execute("ALTER TABLE agent_tasks RENAME TO elsewhere", for: "test")
            play.time.advance(by: Self.lease / 3)
            try await play.time.untilAsleep()
            try await database.execute("ALTER TABLE elsewhere RENAME TO agent_tasks", for: "test")
            try await play.letLeaseRunDown()
            play.time.advance(by: .seconds(1))
            try await play.untilRenewed()
        }
    }

    @Test("a worker that is to stop holds on to what it still runs")
    func renewedWhileStopping() async throws {
        try await Self.play { play in
            play.worker.stop()
            play.time.advance(by: .milliseconds(200))
            try await play.time.untilAsleep()
            try await play.letLeaseRunDown()
            play.time.advance(by: Self.lease / 3)
            try await play.untilRenewed()
        }
    }

    @Test("what was asked through another process is heard with the next renewal")
    func askedElsewhere() async throws {
        try await Self.play { play in
            let elsewhere = play.scene.store()
            #expect(try await elsewhere.cancel(play.task.id).requested == .cancel)
            #expect(play.store.roster.state(of: play.held).requested == nil)
            play.time.advance(by: Self.lease / 3)
            try await until("it is heard") { play.store.roster.state(of: play.held).requested == .cancel }
        }
    }

    @Test("a run whose task another worker has taken is told with the next renewal")
    func takenElsewhere() async throws {
        try await Self.play { play in
            try await play.scene.endLeases()
            let elsewhere = play.scene.store([OneStep {}])
            #expect(try await elsewhere.claim(as: "other").map(\.task.attempt) == [2])
            #expect(!play.store.roster.state(of: play.held).lost)
            play.time.advance(by: Self.lease / 3)
            // While it goes on: one that has ended is as good as lost.
            try await until("it is told") { play.store.roster.state(of: play.held).lost && play.store.roster.held == [play.held] }
        }
    }

    @Test("a place that becomes free is taken at once, and not at the next poll")
    func freePlace() async throws {
        try await TaskScene.with { scene in
            let time = ManualTime(now: .now())
            // Through another store: none of them wakes this worker.
            let elsewhere = scene.store([OneStep {}])
            for _ in 0..<3 { _ = try await elsewhere.create(NewAgentTask(workspaceID: scene.workspace, type: OneStep.type)) }
            try await Self.working(Self.worker(scene.store([OneStep {}]), concurrency: 1, time), time) {
                try await until("all are done") { try await scene.count("state = 'completed'") == 3 }
            }
        }
    }
}
