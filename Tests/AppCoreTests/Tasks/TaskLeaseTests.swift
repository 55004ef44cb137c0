import Logging
import Synchronization
import TestServers
import Testing
import Vitals

@testable import AppCore

/// Who holds a task, for how long, and what is counted against it, on a real database.
@Suite("Leases of agent tasks")
struct TaskLeaseTests {
    // MARK: T1

    @Test("T1: what is said about another attempt than the one that runs changes nothing")
    func entriesAreByAttempt() {
        let roster = TaskRoster()
        let id = AgentTask.sample().id
        let (old, new) = (HeldTask(id: id, attempt: 1), HeldTask(id: id, attempt: 2))
        roster.enter(old, requested: nil)
        roster.enter(new, requested: nil)
        roster.leave(old)
        roster.lose(old)
        roster.ask(.cancel, of: old)
        #expect(roster.held == [new])
        #expect(roster.state(of: new).requested == nil && !roster.state(of: new).lost)
        #expect(roster.state(of: old).lost)
        roster.ask(.pause, of: new)
        #expect(roster.state(of: new).requested == .pause)
        roster.leave(new)
        #expect(roster.count == 0)
    }

    @Test("T1: a lease that ended while nobody could renew it is taken up again, by the run that goes on")
    func ownTaskIsNotClaimedAgain() async throws {
        try await TaskScene.with { scene in
            let (one, other) = (scene.store(), scene.store())
            let task = try await scene.claimed(by: one, as: "one")
            one.roster.enter(task.held, requested: nil)
            try await scene.endLeases()
            #expect(try await one.claim(as: "one").isEmpty)
            // Its worker is not lost, however long it could not say so.
            #expect(try await one.failLost(maxAttempts: 1) == 0)
            #expect(try await one.renew([task.held], worker: "one", lease: .seconds(60)).keys.map(\.attempt) == [1])
            #expect(try await other.claim(as: "other").isEmpty)
        }
    }

    @Test("T1: renewing holds on to an attempt, not to whoever runs the task now")
    func renewComparesTheAttempt() async throws {
        try await TaskScene.with { scene in
            let (one, other) = (scene.store(), scene.store())
            let task = try await scene.claimed(by: one, as: "one")
            try await scene.endLeases()
            let again = try await #require(other.claim(as: "one").first).task
            #expect(again.held == HeldTask(id: task.id, attempt: 2))
            #expect(try await one.renew([task.held], worker: "one", lease: .seconds(60)).isEmpty)
            #expect(try await one.renew([task.held, again.held], worker: "one", lease: .seconds(60)).keys.map(\.attempt) == [2])
        }
    }

    @Test("T1: a worker runs a task once, also when its lease ends meanwhile")
    func oneRunPerTask() async throws {
        try await TaskScene.with { scene in
            let step = Held()
            let store = scene.store([OneStep { try await step.hold() }])
            try await scene.working(store) {
                let task = try await store.create(NewAgentTask(workspaceID: scene.workspace, type: OneStep.type))
                try await until("it runs") { step.entered == 1 }
                try await scene.endLeases()
                try await until("its lease is renewed") { try await scene.count("state = 'running' AND lease_ends_at > now()") == 1 }
                step.release()
                #expect(try await scene.application.follow(task.id).last?.event == "task:completed")
                #expect(try await store.find(task.id).attempt == 1)
                #expect(step.entered == 1)
            }
        }
    }

    // MARK: T2

    @Test("T2: pausing a task and stopping its worker are no failures of it, however often")
    func givingBackDoesNotCount() async throws {
        try await TaskScene.with { scene in
            let store = scene.store()
            var task = try await scene.claimed(by: store, as: "one")
            for _ in 0..<6 {
                try await store.giveBack(task, .unfinished)
                task = try #require(try await store.claim(as: "one").first).task
            }
            for _ in 0..<6 {
                _ = try await store.pause(task.id)
                #expect(try await store.giveBack(task, .unfinished) == .pause)
                _ = try await store.resume(task.id)
                task = try #require(try await store.claim(as: "one").first).task
            }
            #expect(task.attempt == 13)
            try await store.giveBack(task, .unfinished)
            #expect(try await store.claim(as: "one").map(\.failures) == [0])
        }
    }

    @Test("T2: a lost worker and what a task needs are failures of it; the last is told as what it was")
    func failuresCount() async throws {
        try await TaskScene.with { scene in
            let store = scene.store()
            let task = try await scene.claimed(by: store, as: "one")
            try await store.giveBack(task, .failed(delay: .zero))
            #expect(try await store.claim(as: "one", maxAttempts: 3).map(\.failures) == [1])
            try await scene.endLeases()
            #expect(try await store.claim(as: "two", maxAttempts: 3).map(\.failures) == [2])
            try await scene.endLeases()
            #expect(try await store.claim(as: "three", maxAttempts: 3).isEmpty)
            #expect(try await store.failLost(maxAttempts: 3) == 1)
            let failed = try await store.find(task.id)
            #expect(failed.state == .failed && failed.error == "its worker was lost; 3 attempts have failed")
        }
    }

    @Test("T2: the first failure of a task that was often given back sends it to the queue, and not to its end")
    func firstFailureIsNotTheLast() async throws {
        try await TaskScene.with { scene in
            let tries = Counter()
            let store = scene.store([
                OneStep {
                    tries.add()
                    if tries.value == 1 { throw PostgresError.connectionLost("a blip") }
                }
            ])
            let task = try await store.create(NewAgentTask(workspaceID: scene.workspace, type: OneStep.type))
            _ = try await scene.application.database.execute("UPDATE agent_tasks SET attempt = 7", for: "test")
            try await scene.working(store) {
                let events = try await scene.application.follow(task.id)
                #expect(events.last?.event == "task:completed")
            }
            #expect(try await store.find(task.id).attempt == 9)
        }
    }

    // MARK: T3

    @Test("T3: a run whose task another worker has taken ends, and leaves the task to that one")
    func leaseLoss() async throws {
        try await TaskScene.with { scene in
            let step = Held()
            let (store, other) = (scene.store([OneStep { try await step.hold() }]), scene.store([OneStep {}]))
            let worker = scene.worker(store)
            try await scene.working(worker) {
                let task = try await store.create(NewAgentTask(workspaceID: scene.workspace, type: OneStep.type))
                try await until("it runs") { step.entered == 1 }
                // Between the two our worker may hold on to it again.
                var taken: AgentTask?
                try await until("the other has it") {
                    try await scene.endLeases()
                    taken = try await other.claim(as: "other").first?.task
                    return taken != nil
                }
                step.release()
                try await until("the run has ended") { worker.statistics().running == 0 }
                #expect(worker.statistics().leasesLost == 1)
                let present = try await store.find(task.id)
                #expect(present.state == .running && present.attempt == 2)
                try await other.complete(try #require(taken), result: [:], summary: "done elsewhere")
                #expect(try await store.find(task.id).state == .completed)
            }
        }
    }

    @Test("T3: whoever lost a task changes nothing of it any more")
    func oldAttemptsWriteNothing() async throws {
        try await TaskScene.with { scene in
            let (one, other) = (scene.store(), scene.store())
            let old = try await scene.claimed(by: one, as: "one")
            try await scene.endLeases()
            let new = try #require(try await other.claim(as: "other").first).task
            let events = try await scene.count("true", in: "agent_task_events")

            await #expect(throws: AgentTaskStore.LeaseLost.self) { try await one.giveBack(old, .unfinished) }
            await #expect(throws: AgentTaskStore.LeaseLost.self) { try await one.giveBack(old, .failed(delay: .zero)) }
            await #expect(throws: AgentTaskStore.LeaseLost.self) {
                _ = try await one.note(.stepStarted, [:], step: "a", progress: 0.5, of: old)
            }
            await #expect(throws: AgentTaskStore.LeaseLost.self) { try await one.complete(old, result: [:], summary: "a") }
            await #expect(throws: AgentTaskStore.LeaseLost.self) { try await one.fail(old, reason: "a") }

            let present = try await other.find(old.id)
            #expect(present.state == .running && present.attempt == new.attempt && present.progress == 0)
            #expect(try await scene.count("failures = 1") == 1)
            #expect(try await scene.count("true", in: "agent_task_events") == events)
            try await other.complete(new, result: [:], summary: "b")
        }
    }

    @Test("T3: tasks of a worker that is gone are taken by another, oldest first; those of one that lives are not")
    func reclaim() async throws {
        try await TaskScene.with { scene in
            let (one, other) = (scene.store(), scene.store())
            let first = try await scene.claimed(by: one, as: "one")
            let second = try await scene.claimed(by: one, as: "one")
            #expect(try await other.claim(as: "other").isEmpty)
            try await scene.endLeases()
            let claims = try await other.claim(as: "other")
            #expect(claims.map(\.task.id) == [first.id, second.id])
            #expect(claims.map(\.task.attempt) == [2, 2] && claims.map(\.failures) == [1, 1])
        }
    }

    @Test("T3: a task that loses every worker fails, with an event, a line of the log, and word to those who keep answers")
    func failLost() async throws {
        try await TaskScene.with { scene in
            let written = Mutex<[Workspace.ID]>([])
            let store = AgentTaskStore(database: scene.application.database, hub: scene.application.hub) { id in written.withLock { $0.append(id) } }
            let task = try await scene.claimed(by: store, as: "one")
            let living = try await scene.claimed(by: store, as: "one")
            try await scene.endLeases(of: task.id)
            written.withLock { $0 = [] }
            #expect(try await store.failLost(maxAttempts: 2) == 0)
            #expect(try await store.failLost(maxAttempts: 1) == 1)
            #expect(try await store.find(task.id).state == .failed)
            #expect(try await store.find(living.id).state == .running)
            #expect(written.withLock { $0 } == [scene.workspace])
            #expect(try await scene.application.follow(task.id).last?.event == "task:failed")
            #expect(try await scene.count("true", in: "ai_audit_logs") == 1)
            #expect(try await scene.count("action = 'risk-assessment.failed' AND task_id = '\(task.id)'", in: "ai_audit_logs") == 1)
        }
    }

    @Test("one workspace does not take every place, whoever runs its tasks")
    func perWorkspace() async throws {
        try await TaskScene.with { scene in
            let store = scene.store()
            let other = try await scene.application.workspaces.create(NewWorkspace(name: "Two", ticker: "ACME"))
            for workspace in [scene.workspace, scene.workspace, scene.workspace, other.id] {
                _ = try await store.create(NewAgentTask(workspaceID: workspace, type: "risk-assessment"))
            }
            func claim(_ worker: String) async throws -> [Workspace.ID] {
                try await store.claim(limit: 10, perWorkspace: 2, worker: worker, lease: .seconds(60), maxAttempts: 5).map(\.task.workspaceID)
            }
            #expect(try await claim("one") == [scene.workspace, scene.workspace, other.id])
            #expect(try await claim("two") == [])
        }
    }

    @Test("a task that goes back to the queue for a while is not claimed before its time")
    func notBeforeItsTime() async throws {
        try await TaskScene.with { scene in
            let store = scene.store()
            let task = try await scene.claimed(by: store, as: "one")
            try await store.giveBack(task, .failed(delay: .seconds(3_600)))
            #expect(try await store.claim(as: "one").isEmpty)
            #expect(try await store.find(task.id).attempt == 1)
            _ = try await scene.application.database.execute("UPDATE agent_tasks SET queued_at = now() - interval '1 second'", for: "test")
            #expect(try await store.claim(as: "one").map(\.task.attempt) == [2])
        }
    }
}
