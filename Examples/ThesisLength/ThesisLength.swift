// ThesisLength host=/run/postgresql dbname=app user=app: one task of a kind that healthd does not know, from its row to its result.
import AppCore
import Logging

struct ThesisLength: TaskHandler {
    let type = "thesis-length"
    let steps = [
        TaskStep("count-words") { data, findings in
            let workspace = try await data.workspace()
            guard let thesis = workspace.thesis else { throw TaskFailure("workspace \(workspace.id) has no thesis") }
            findings.workspace = workspace
            findings.figures["words"] = .integer(thesis.split(separator: " ").count)
        },
        TaskStep("count-rivals") { data, findings in
            let (ticker, own) = (findings.workspace?.ticker, data.task.workspaceID)
            let rows = try await data.database.query(
                "SELECT count(*) AS rivals FROM workflows WHERE ticker = \(ticker) AND id <> \(own)", for: "example.rivals")
            findings.figures["rivals"] = .integer(try rows.first?.int("rivals") ?? 0)
            findings.summary = "measured a thesis about \(ticker ?? "nothing")"
        },
    ]
}

@main struct Example {
    static func main() async throws {
        let pairs = CommandLine.arguments.dropFirst().map { $0.split(separator: "=", maxSplits: 1).map { String($0) } }
        let keywords = Dictionary(pairs.filter { $0.count == 2 }.map { ($0[0], $0[1]) }, uniquingKeysWith: { _, last in last })
        try await run(PostgresEndpoint(keywords: keywords)) { print($0) }
    }

    static func run(_ endpoint: PostgresEndpoint, say: @escaping @Sendable (String) -> Void) async throws {
        let logger = Logger(label: "example")
        let loop = try EventLoop()
        defer { loop.shutdown() }
        let pool = Pool(PoolConfiguration(max: 4), endpoint: endpoint, loop: loop, logger: logger)
        let (database, cache) = (Database(pool: pool), TieredCache(redis: nil))
        let workspaces = WorkspaceStore(database: database, cache: cache)
        let hub = EventHub(database: database, bootID: "example")
        let tasks = AgentTaskStore(database: database, hub: hub, handlers: [ThesisLength()])
        let worker = TaskWorker(store: tasks, name: "example")
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await pool.run() }
            group.addTask { await cache.run() }
            try await Migrator(database: database).up()
            group.addTask { await hub.run() }
            group.addTask { await worker.run() }
            let new = try await workspaces.create(NewWorkspace(name: "Long semis", ticker: "NVDA", thesis: "Data centres grow and grow"))
            let task = try await tasks.create(NewAgentTask(workspaceID: new.id, type: "thesis-length"))
            for await event in try await hub.stream(of: task.id) {
                say("\(event.event ?? "") \(event.data)")
                if event.event == "task:completed" || event.event == "task:failed" { break }
            }
            // What was made here is in memory; a program beside this one, with a cache of its own, loads it.
            let elsewhere = WorkspaceStore(database: database, cache: TieredCache(redis: nil))
            for store in [workspaces, elsewhere] { say("\(try await store.lookUp(new.id).source): \(new.name)") }
            worker.stop()
            group.cancelAll()
        }
    }
}
