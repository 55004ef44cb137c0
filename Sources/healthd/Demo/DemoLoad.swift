import AppCore
import Logging
import Vitals

/// A gentle, endless load for `healthd run --demo`: what a few dozen people and their agents would do.
///
/// About five overviews a second, a market history each second, an agent task every five seconds, now and then a changed workspace.
/// Whatever fails is noted at debug level and tried again a second later; nothing ends the load but its cancellation.
struct DemoLoad {
    private let workspaces: WorkspaceStore
    private let tasks: AgentTaskStore
    private let time: any TimeSource
    private let logger: Logger
    private let choice = DemoChoice()

    init(workspaces: WorkspaceStore, tasks: AgentTaskStore, time: any TimeSource, logger: Logger) {
        self.workspaces = workspaces
        self.tasks = tasks
        self.time = time
        self.logger = logger
    }

    /// Returns when cancelled.
    func run() async {
        await Work.$detail.withValue("demo load") {
            await withDiscardingTaskGroup { group in
                group.addTask { await again(every: .seconds(30), "choice", chooseAnew) }
                group.addTask { await again(every: .milliseconds(200), "overview", readOverview) }
                group.addTask { await again(every: .seconds(1), "history", readHistory) }
                group.addTask { await again(every: .seconds(5), "task", beginTask) }
                group.addTask { await again(every: .seconds(17), "update", changeWorkspace) }
            }
        }
    }

    /// How long an action that failed is left alone: enough for a database that is down not to be asked in vain all the time.
    private static let rest = Duration.seconds(1)

    /// The boundary of one kind of action. One at a time: a slow database makes the load slower, never larger.
    private func again(every interval: Duration, _ name: String, _ action: @Sendable () async throws -> Void) async {
        var failures = 0
        while !Task.isCancelled {
            let started = time.now()
            var next = started + interval
            do {
                try await action()
            } catch {
                failures += 1
                next = time.now() + Self.rest
                logger.debug("demo action failed", metadata: ["action": "\(name)", "failures": "\(failures)", "reason": "\(error)"])
            }
            // Not before the end of the action, so that what was missed is not made up for.
            try? await time.sleep(until: max(next, time.now()))
        }
    }

    // MARK: Actions

    private func chooseAnew() async throws {
        let found = try await workspaces.list(limit: 200)
        guard !found.isEmpty else { throw DemoChoice.Empty() }
        choice.replace(with: found)
    }

    private func readOverview() async throws {
        _ = try await workspaces.overview(try choice.workspace().id)
    }

    private func readHistory() async throws {
        _ = try await workspaces.marketHistory(try choice.workspace().ticker, limit: 260)
    }

    /// The three kinds in turn. Nothing is added while the last one is not done: the queue cannot grow.
    private func beginTask() async throws {
        if let last = choice.lastTask, try await isOpen(last) { return }
        let type = choice.nextType(of: tasks.types)
        let task = try await tasks.create(
            NewAgentTask(workspaceID: try choice.workspace().id, type: type, params: ["rounds": 2, "interval": "500ms"]))
        choice.lastTask = task.id
    }

    /// A task that somebody removed, with its workspace or without, is not open.
    private func isOpen(_ id: AgentTask.ID) async throws -> Bool {
        do {
            return try await !tasks.find(id).state.isFinal
        } catch RequestProblem.notFound {
            return false
        }
    }

    /// Writes the name it has: the version grows and the caches learn of it, and what a person wrote a moment ago stays.
    private func changeWorkspace() async throws {
        let workspace = try await workspaces.find(try choice.workspace().id)
        _ = try await workspaces.update(workspace.id, WorkspacePatch(name: workspace.name))
    }
}
