@testable import AppCore
import Logging
import Probes
import TestServers
import Testing
import Vitals

@testable import healthd

/// Whether tasks that wait too long are seen, from their rows to the verdict.
@Suite struct `How long tasks wait` {
    @Test func `is measured from the oldest that this version could run, and judged by its rule`() async throws {
        try await WatchedDatabase.with { watched in
            let database = watched.database
            let store = AgentTaskStore(database: database, hub: EventHub(database: database, bootID: "test", logger: .quiet))
            let worker = TaskWorker(store: store, configuration: TaskConfiguration(perWorkspace: 1), name: "test", logger: .quiet)
            let probe = TaskWatch.probe(worker, interval: .seconds(1), timeout: .seconds(1))
            try await withThrowingTaskGroup(of: Void.self) { group in
                try await Migrator(database: database, logger: .quiet).up()
                // The workspace has all it may have, with another worker: the second waits, and nobody here can take it.
                try await database.withConnection(for: "test") { lease in
                    try await lease.script(
                        """
                        INSERT INTO workflow_users (email, name) VALUES ('a@b', 'a');
                        INSERT INTO workflows (user_id, name, ticker) SELECT id, 'One', 'ACME' FROM workflow_users;
                        INSERT INTO agent_tasks (workspace_id, type, state, attempt, worker, queued_at, lease_ends_at)
                            SELECT id, 'risk-assessment', 'running', 1, 'other', now() - interval '2 hours', now() + interval '1 hour' FROM workflows;
                        INSERT INTO agent_tasks (workspace_id, type, state, queued_at) SELECT id, 'risk-assessment', 'queued', now() - interval '1 hour' FROM workflows
                        """)
                }
                group.addTask { await worker.run() }
                var found = Measurement()
                try await until("it is seen to wait") {
                    found = try await probe.measure()
                    return found.values["oldest-queued"] != nil
                }
                #expect(found.values["oldest-queued"].map { (3_600..<3_700).contains($0) } == true && found.values["running"] == 0, "\(found)")
                #expect(found.summary == "0 of 50 running, 1 queued")

                let time = ManualTime()
                let board = HealthBoard(rules: [.taskQueue()], time: time)
                board.record(
                    Sample(
                        probe: probe.id, component: probe.component, at: time.now(), wall: time.wallNow(), duration: .zero, interval: .seconds(1),
                        result: .success(found)))
                #expect(board.snapshot().component("tasks")?.state == .critical)
                worker.stop()
                group.cancelAll()
            }
        }
    }
}
