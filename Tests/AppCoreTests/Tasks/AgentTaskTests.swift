import TestServers
import Testing
import Vitals

@testable import AppCore

/// Agent tasks from the row to the result, on a real database.
@Suite("Agent tasks")
struct AgentTaskTests {
    private func new(_ workspace: Workspace, _ type: String = "risk-assessment", autoStart: Bool? = nil) -> NewAgentTask {
        NewAgentTask(workspaceID: workspace.id, type: type, autoStart: autoStart)
    }

    private func numbers(_ events: [ServerSentEvent]) -> [Int] {
        events.filter { $0.event != "task:state" }.compactMap { $0.id.flatMap { Int($0.split(separator: "-").last ?? "") } }
    }

    private func rows(_ table: String, of workspace: Workspace, _ application: TestApplication) async throws -> Int {
        let counted = try await application.database.query(
            "SELECT count(*) AS n FROM \(unescaped: table) WHERE workspace_id = \(workspace.id)", for: "test")
        return try #require(counted.first).int("n")
    }

    @Test(arguments: ["thesis-validation", "earnings-analysis", "risk-assessment"])
    func `runs to its end, with a result, a snapshot, an audit row and events without a gap`(type: String) async throws {
        let server = try await TestPostgres.start()
        try await TestApplication.with(server, seeded: true) { application in
            let workspace = try #require(try await application.workspaces.list().first)
            let (snapshots, logs) = try await (rows("workspace_data_snapshots", of: workspace, application), rows("ai_audit_logs", of: workspace, application))
            try await application.working {
                let task = try await application.tasks.create(new(workspace, type))
                let events = try await application.follow(task.id)
                #expect(events.first?.event == "task:state")
                #expect(events.last?.event == "task:completed")
                let numbers = numbers(events)
                #expect(zip(numbers, numbers.dropFirst()).allSatisfy { $1 == $0 + 1 }, "\(numbers)")
                let done = try await application.tasks.find(task.id)
                #expect(done.state == .completed && done.progress == 1 && done.result != nil)
            }
            #expect(try await rows("workspace_data_snapshots", of: workspace, application) == snapshots + 1)
            #expect(try await rows("ai_audit_logs", of: workspace, application) == logs + 1)
        }
    }

    @Test func `a reader that comes back gets what it missed, and one that knows too much begins anew`() async throws {
        let server = try await TestPostgres.start()
        try await TestApplication.with(server, seeded: true) { application in
            let workspace = try #require(try await application.workspaces.list().first)
            try await application.working {
                let task = try await application.tasks.create(new(workspace))
                let all = try await application.follow(task.id)
                let second = try #require(all.first { $0.id?.hasSuffix("-2") == true }?.id)
                let rest = try await application.follow(task.id, after: second)
                #expect(numbers(rest).first == 3)
                // Not given yet; of another run of the program, which had another database, perhaps; of none.
                for unknown in ["boot-9999", "before-1", "1", "boot-x"] {
                    let reset = try await application.follow(task.id, after: unknown)
                    #expect(reset.contains { $0.event == "reset" }, "\(unknown)")
                    #expect(numbers(reset.filter { $0.event != "reset" }).first == 1, "\(unknown)")
                }
            }
        }
    }

    @Test func `D14: a column added to their table costs no pause, resume or cancel`() async throws {
        let server = try await TestPostgres.start()
        try await TestApplication.with(server, seeded: true) { application in
            let workspace = try #require(try await application.workspaces.list().first)
            func useAll() async throws {
                for _ in 0..<3 {
                    let task = try await application.tasks.create(new(workspace, autoStart: false))
                    #expect(try await application.tasks.start(task.id).state == .queued)
                    #expect(try await application.tasks.pause(task.id).state == .paused)
                    #expect(try await application.tasks.resume(task.id).state == .queued)
                    #expect(try await application.tasks.cancel(task.id).state == .cancelled)
                }
            }
            try await useAll()
            try await application.database.execute("ALTER TABLE agent_tasks ADD COLUMN priority integer NOT NULL DEFAULT 0", for: "migration")
            try await useAll()
        }
    }

    @Test func `waits to be started when it is told to`() async throws {
        let server = try await TestPostgres.start()
        try await TestApplication.with(server, seeded: true) { application in
            let workspace = try #require(try await application.workspaces.list().first)
            try await application.working {
                let task = try await application.tasks.create(new(workspace, autoStart: false))
                #expect(try await application.tasks.find(task.id).state == .created)
                _ = try await application.tasks.start(task.id)
                #expect(try await application.follow(task.id).last?.event == "task:completed")
                await #expect(throws: RequestProblem.self) { _ = try await application.tasks.start(task.id) }
            }
        }
    }

    @Test func `a paused task is left alone until it is resumed, a cancelled one for good`() async throws {
        let server = try await TestPostgres.start()
        try await TestApplication.with(server, seeded: true) { application in
            let workspace = try #require(try await application.workspaces.list().first)
            let paused = try await application.tasks.create(new(workspace))
            let cancelled = try await application.tasks.create(new(workspace))
            #expect(try await application.tasks.pause(paused.id).state == .paused)
            #expect(try await application.tasks.cancel(cancelled.id).state == .cancelled)
            try await application.working {
                let other = try await application.tasks.create(new(workspace))
                _ = try await application.follow(other.id)
                #expect(try await application.tasks.find(paused.id).state == .paused)
                _ = try await application.tasks.resume(paused.id)
                #expect(try await application.follow(paused.id).last?.event == "task:completed")
            }
            #expect(try await application.tasks.find(cancelled.id).state == .cancelled)
            await #expect(throws: RequestProblem.self) { _ = try await application.tasks.resume(cancelled.id) }
        }
    }

    @Test func `fifty at once are all done`() async throws {
        let server = try await TestPostgres.start()
        try await TestApplication.with(server, seeded: true) { application in
            let workspaces = try await application.workspaces.list()
            try await application.working {
                let ends = try await withThrowingTaskGroup(of: String?.self) { group in
                    for index in 0..<50 {
                        group.addTask {
                            let task = try await application.tasks.create(new(workspaces[index % workspaces.count]))
                            return try await application.follow(task.id).last?.event
                        }
                    }
                    return try await group.reduce(into: []) { $0.append($1) }
                }
                #expect(ends.count == 50 && ends.allSatisfy { $0 == "task:completed" }, "\(ends)")
            }
        }
    }

    @Test func `an unknown type or workspace is refused by its field`() async throws {
        let server = try await TestPostgres.start()
        try await TestApplication.with(server, seeded: true) { application in
            let workspace = try #require(try await application.workspaces.list().first)
            await #expect(throws: RequestProblem.self) { _ = try await application.tasks.create(new(workspace, "palm-reading")) }
        }
    }
}
