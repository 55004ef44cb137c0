import TestServers
import Testing
import Vitals

@testable import AppCore

/// What this process does to a task reaches those who follow it at once: these hubs never look for it.
@Suite("Events that are published")
struct PublishingTests {
    /// A task that waits to be started, one who follows it live, and a store with handlers of its own hub.
    private struct Play: Sendable {
        let scene: TaskScene
        let store: AgentTaskStore
        let task: AgentTask
        let stream: TaskEventStream

        /// The last number that the follower has; the greatest there is when nothing more can come.
        var seen: Int? { stream.subscription.lastSeenWhileLive }

        func claim() async throws -> AgentTask { try #require(try await store.claim(as: "one").first).task }
    }

    private static func play(_ body: @escaping @Sendable (Play) async throws -> Void) async throws {
        try await TaskScene.with { scene in
            let database = scene.application.database
            let hub = EventHub(database: database, bootID: "boot", logger: .quiet)
            let store = AgentTaskStore(database: database, hub: hub)
            let task = try await store.create(NewAgentTask(workspaceID: scene.workspace, type: "risk-assessment", autoStart: false))
            let stream = try await hub.stream(of: task.id)
            // As when it has read what is stored, which is nothing.
            stream.subscription.replayed(through: 0, isLast: true)
            let play = Play(scene: scene, store: store, task: task, stream: stream)
            #expect(play.seen == 0)
            try await body(play)
        }
    }

    @Test("a claim, each step and the result")
    func run() async throws {
        try await Self.play { play in
            _ = try await play.store.start(play.task.id)
            let task = try await play.claim()
            #expect(play.seen == 1)
            _ = try await play.store.note(.stepStarted, [:], step: "a", progress: 0, of: task)
            #expect(play.seen == 2)
            _ = try await play.store.note(.stepCompleted, [:], step: "a", progress: 1, of: task)
            #expect(play.seen == 3)
            try await play.store.complete(task, result: [:], summary: "done")
            #expect(play.seen == Int.max)
        }
    }

    @Test("a failure")
    func failure() async throws {
        try await Self.play { play in
            _ = try await play.store.start(play.task.id)
            try await play.store.fail(try await play.claim(), reason: "a")
            #expect(play.seen == Int.max)
        }
    }

    @Test("a pause that is done at once, and one that its worker does")
    func pauses() async throws {
        try await Self.play { play in
            _ = try await play.store.pause(play.task.id)
            #expect(play.seen == 1)
            _ = try await play.store.resume(play.task.id)
            let task = try await play.claim()
            #expect(play.seen == 2)
            _ = try await play.store.pause(task.id)
            try await play.store.giveBack(task, .unfinished)
            #expect(play.seen == 3)
            _ = try await play.store.cancel(task.id)
            #expect(play.seen == Int.max)
        }
    }

    @Test("the end of a task whose worker was lost")
    func lost() async throws {
        try await Self.play { play in
            _ = try await play.store.start(play.task.id)
            _ = try await play.claim()
            try await play.scene.endLeases()
            #expect(try await play.store.failLost(maxAttempts: 1) == 1)
            #expect(play.seen == Int.max)
        }
    }
}
