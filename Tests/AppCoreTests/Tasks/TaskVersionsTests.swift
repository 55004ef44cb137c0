import TestServers
import Testing
import Vitals

@testable import AppCore

/// Another version of this program works on the same tables, and knows more than this one.
@Suite("Versions side by side")
struct TaskVersionsTests {
    private struct Sentiment: TaskHandler {
        let type = "sentiment-analysis"
        let steps = [TaskStep("only") { _, _ in }]
    }

    private func claim(_ store: AgentTaskStore) async throws -> [String] {
        try await store.claim(limit: 10, perWorkspace: 10, worker: "one", lease: .seconds(60), maxAttempts: 5).map(\.task.type)
    }

    @Test("J4: a task of a type that this version does not know is left to one that knows it, also when its worker is lost")
    func unknownTypes() async throws {
        let server = try await TestPostgres.start()
        try await TestApplication.with(server) { application in
            let workspace = try await application.workspaces.create(NewWorkspace(name: "One", ticker: "ACME"))
            for state in ["queued", "running"] {
                try await application.database.execute(
                    """
                    INSERT INTO agent_tasks (workspace_id, type, state, queued_at, lease_ends_at)
                    VALUES (\(workspace.id), 'sentiment-analysis', \(state), now() - interval '1 hour', now() - interval '1 minute')
                    """, for: "test")
            }
            #expect(try await claim(application.tasks) == [])
            #expect(try await application.tasks.failLost(maxAttempts: 1) == 0)
            let backlog = try await application.tasks.backlog()
            #expect(backlog.byState == [.queued: 1, .running: 1] && backlog.forOthers == 1)
            // How late this version is says nothing about what it does not do.
            #expect(backlog.oldestQueued == nil)
            let newer = AgentTaskStore(database: application.database, hub: application.hub, handlers: [Sentiment()])
            #expect(try await claim(newer) == ["sentiment-analysis", "sentiment-analysis"])
        }
    }

    @Test("J4: an event of an unknown kind reaches its readers as it is, stored or live, and keeps nobody from his own")
    func unknownKinds() async throws {
        let server = try await TestPostgres.start()
        try await TestApplication.with(server, seeded: true) { application in
            let workspace = try #require(try await application.workspaces.list().first)
            let new = NewAgentTask(workspaceID: workspace.id, type: "risk-assessment", autoStart: false)
            let (strange, usual) = (try await application.tasks.create(new), try await application.tasks.create(new))
            // By hand, as another process would: what this version cannot hold in a number of its own, and nests deeper than it reads.
            try await application.database.execute("ALTER TABLE agent_task_events ALTER COLUMN payload TYPE jsonb", for: "test")
            let deep = String(repeating: "[", count: 100) + String(repeating: "]", count: 100)
            let payload = #"{"all": 123456789012345678901234567890.125, "deep": \#(deep)}"#
            func insert(_ task: AgentTask, _ sequence: Int, _ kind: String) async throws {
                try await application.database.execute(
                    """
                    WITH held AS (UPDATE agent_tasks SET event_sequence = \(sequence) WHERE id = \(task.id))
                    INSERT INTO agent_task_events (task_id, sequence, kind, payload) VALUES (\(task.id), \(sequence), \(kind), \(payload)::jsonb)
                    """, for: "test")
            }
            try await insert(strange, 1, "step:skipped")
            var first = try await application.hub.stream(of: strange.id).makeAsyncIterator()
            var second = try await application.hub.stream(of: usual.id).makeAsyncIterator()
            for expected in ["task:state", "step:skipped"] {
                let event = try #require(await first.next())
                #expect(event.event == expected)
                if expected == "step:skipped" { #expect(event.data.contains(#""payload":\#(payload),"#), "\(event.data)") }
            }
            #expect(await second.next()?.event == "task:state")
            // Both are live now, or soon: what comes now they get by the look at the table.
            try await insert(strange, 2, "step:forked\nid: 9")
            try await insert(usual, 1, "task:cancelled")
            #expect(await second.next()?.event == "task:cancelled")
            let forked = try #require(await first.next())
            #expect(forked.event == "step:forked\nid: 9" && !String(decoding: forked.rendered(), as: UTF8.self).contains("\nid: 9"))
            #expect(application.hub.statistics().sent["other"] == 2)
            #expect(try await application.tasks.telemetry(strange.id).events == 2)
        }
    }
}
