import TestServers
import Testing
import Vitals

@testable import AppCore

/// What people ask of a task that a worker has, or had, on a real database.
@Suite("What is asked of a running task")
struct TaskAskingTests {
    @Test("a task is given back as was asked last: a cancellation behind a pause is kept, and a pause that was taken back is none")
    func lastWordCounts() async throws {
        try await TaskScene.with { scene in
            let store = scene.store()
            let first = try await scene.claimed(by: store, as: "one")
            _ = try await store.pause(first.id)
            _ = try await store.cancel(first.id)
            #expect(try await store.giveBack(first, .unfinished) == .cancel)
            let cancelled = try await store.find(first.id)
            #expect(cancelled.state == .cancelled && cancelled.requested == nil && cancelled.finishedAt != nil)
            #expect(try await scene.application.follow(first.id).last?.event == "task:cancelled")

            let second = try await scene.claimed(by: store, as: "one")
            _ = try await store.pause(second.id)
            _ = try await store.resume(second.id)
            #expect(try await store.giveBack(second, .unfinished) == nil)
            let again = try await store.claim(as: "one").map(\.task)
            #expect(again.map(\.id) == [second.id] && again.map(\.requested) == [nil])
        }
    }

    @Test("what was asked while a task fails is done when it is given back, and not to its next run")
    func askedWhileItFails() async throws {
        try await TaskScene.with { scene in
            let store = scene.store()
            let task = try await scene.claimed(by: store, as: "one")
            _ = try await store.pause(task.id)
            #expect(try await store.giveBack(task, .failed(delay: .seconds(3_600))) == .pause)
            let paused = try await store.find(task.id)
            #expect(paused.state == .paused && paused.requested == nil)
            #expect(try await store.resume(task.id).requested == nil)
            #expect(try await store.claim(as: "one").map(\.task.requested) == [nil])
            #expect(try await scene.count("failures = 1") == 1)
        }
    }

    @Test("a run that has seen a pause, and not the cancellation behind it, is cancelled")
    func askedSince() async throws {
        try await TaskScene.with { scene in
            let step = Held()
            let store = scene.store([OneStep { try await step.hold() }])
            try await scene.working(store) {
                let task = try await store.create(NewAgentTask(workspaceID: scene.workspace, type: OneStep.type))
                try await until("it runs") { step.entered == 1 }
                _ = try await store.pause(task.id)
                _ = try await store.cancel(task.id)
                store.roster.ask(.pause, of: HeldTask(id: task.id, attempt: 1))
                step.release()
                #expect(try await scene.application.follow(task.id).last?.event == "task:cancelled")
            }
        }
    }

    @Test("what is asked of a task that runs in this process is heard by its run at once")
    func heardAtOnce() async throws {
        try await TaskScene.with { scene in
            let store = scene.store()
            let task = try await scene.claimed(by: store, as: "one")
            store.roster.enter(task.held, requested: nil)
            _ = try await store.pause(task.id)
            #expect(store.roster.state(of: task.held).requested == .pause)
            _ = try await store.resume(task.id)
            #expect(store.roster.state(of: task.held).requested == nil)
            _ = try await store.cancel(task.id)
            #expect(store.roster.state(of: task.held).requested == .cancel)
        }
    }

    @Test("a task whose worker is gone is paused and cancelled at once, also one of a type that only another version knows")
    func nobodyToAsk() async throws {
        try await TaskScene.with { scene in
            let store = scene.store()
            let (first, second) = (try await scene.claimed(by: store, as: "one"), try await scene.claimed(by: store, as: "one"))
            _ = try await scene.application.database.execute("UPDATE agent_tasks SET type = 'of-another-version' WHERE id = \(first.id)", for: "test")
            #expect(try await store.cancel(first.id).state == .running)
            try await scene.endLeases()
            let cancelled = try await store.cancel(first.id)
            #expect(cancelled.state == .cancelled && cancelled.requested == nil)
            #expect(try await store.pause(second.id).state == .paused)
            // A worker that was only away finds them changed.
            #expect(try await store.renew([first.held, second.held], worker: "one", lease: .seconds(60)).isEmpty)
            await #expect(throws: AgentTaskStore.LeaseLost.self) { try await store.complete(first, result: [:], summary: "late") }
        }
    }

    @Test("what is asked of a task in a state of another version is a conflict that names the state")
    func unknownState() async throws {
        try await TaskScene.with { scene in
            let store = scene.store()
            let task = try await scene.claimed(by: store, as: "one")
            _ = try await scene.application.database.execute("ALTER TABLE agent_tasks DROP CONSTRAINT agent_tasks_state_check", for: "test")
            _ = try await scene.application.database.execute("UPDATE agent_tasks SET state = 'hibernating'", for: "test")
            for action in TaskAction.allCases {
                await #expect {
                    _ = try await store.apply(action, to: task.id)
                } throws: { error in
                    guard case RequestProblem.conflict(let reason) = error else { return false }
                    return reason.contains("is hibernating, a state that this version of healthd does not know")
                }
            }
        }
    }

    @Test("a task that can be counted no further fails alone", arguments: [
        "attempt = \(AgentTaskStore.attemptLimit)", "event_sequence = \(AgentTaskStore.eventLimit)", "event_sequence = \(AgentTaskStore.eventLimit - 5)",
        "state = 'running', lease_ends_at = now() - interval '1 minute', failures = \(AgentTaskStore.attemptLimit)",
    ])
    func countedOut(change: String) async throws {
        try await TaskScene.with { scene in
            let store = scene.store()
            let spent = try await store.create(NewAgentTask(workspaceID: scene.workspace, type: "risk-assessment"))
            _ = try await scene.application.database.execute("UPDATE agent_tasks SET \(unescaped: change)", for: "test")
            let other = try await store.create(NewAgentTask(workspaceID: scene.workspace, type: "risk-assessment"))
            #expect(try await store.claim(as: "one").map(\.task.id) == [other.id])
            #expect(try await store.failLost(maxAttempts: 5) == 1)
            let failed = try await store.find(spent.id)
            #expect(failed.state == .failed && failed.error?.isEmpty == false)
            #expect(try await scene.application.follow(spent.id).last?.event == "task:failed")
        }
    }

    @Test("numbers that could be counted no further are refused", arguments: ["attempt = 2147483647", "failures = -1", "event_sequence = 9223372036854775807"])
    func refusedNumbers(change: String) async throws {
        try await TaskScene.with { scene in
            _ = try await scene.claimed(by: scene.store(), as: "one")
            await #expect {
                _ = try await scene.application.database.execute("UPDATE agent_tasks SET \(unescaped: change)", for: "test")
            } throws: { error in
                (error as? PostgresError)?.sqlState == "23514"
            }
        }
    }
}
