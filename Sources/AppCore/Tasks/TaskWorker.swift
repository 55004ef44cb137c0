public import Logging
import Synchronization
public import Vitals

/// Claims tasks and runs them, many at once, each behind a boundary of its own.
///
/// Work put there by this process starts at once; work of others, and tasks of workers that vanished, within a poll. Tasks are held
/// by leases that are renewed three times in their length: a worker that is killed loses them, one that is slow does not.
public final class TaskWorker: Sendable {
    private let store: AgentTaskStore
    private let configuration: TaskConfiguration
    private let name: String
    private let time: any TimeSource
    private let logger: Logger
    private let meters = TaskMeters()
    private let stopped = Atomic(false)

    /// - Parameter name: tells this worker from all others, also from this host's last one: host and boot id.
    public init(
        store: AgentTaskStore, configuration: TaskConfiguration = TaskConfiguration(), name: String, time: any TimeSource = SystemTime(),
        logger: Logger = Logger(label: "tasks")
    ) {
        self.store = store
        self.configuration = configuration
        self.name = name
        self.time = time
        self.logger = logger
    }

    public func statistics() -> TaskStatistics {
        meters.statistics(running: store.roster.count, limit: configuration.concurrency, now: time.now())
    }

    /// Claims nothing more; running tasks go back to the queue after their present step, and then `run` returns.
    ///
    /// Call it before cancelling `run`: a cancelled task can no longer write, and leaves its rows to the end of their leases.
    public func stop() {
        stopped.store(true, ordering: .relaxed)
        store.roster.close()
    }

    private var isStopping: Bool { stopped.load(ordering: .relaxed) || Task.isCancelled }

    /// Works until `stop`, or until cancelled. Nobody waits for a task: all of it yields to who waits for an answer.
    public func run() async {
        await Work.$workClass.withValue(.background) { await work() }
    }

    private func work() async {
        await withDiscardingTaskGroup { group in
            group.addTask { await self.keepTime() }
            for await _ in store.roster.workIsThere {
                guard !isStopping else { break }
                for claim in await claim() {
                    meters.queue.record(claim.waited)
                    let run = TaskRun(
                        store: store, task: claim.task, failures: claim.failures, configuration: configuration, meters: meters, time: time,
                        logger: logger, stopping: { self.isStopping })
                    // Entered here and not in the child: the next claim must already count it, and not take it again.
                    store.roster.enter(claim.task.held, requested: claim.task.requested)
                    group.addTask {
                        await run.run()
                        // A place is free, and more may be queued than the last claim had room for.
                        self.store.roster.wake()
                    }
                }
            }
            store.roster.close()
            stopped.store(true, ordering: .relaxed)
        }
    }

    private func claim() async -> [AgentTaskStore.Claim] {
        let room = configuration.concurrency - store.roster.count
        guard room > 0 else { return [] }
        do {
            let claims = try await store.claim(
                limit: room, perWorkspace: configuration.perWorkspace, worker: name, lease: configuration.lease, maxAttempts: configuration.attempts)
            if meters.claimFailed(false) { logger.info("tasks can be claimed again") }
            return claims
        } catch {
            if meters.claimFailed(true) { logger.warning("tasks cannot be claimed", metadata: ["reason": "\(error)"]) }
            return []
        }
    }

    /// Renews leases, wakes the claimer each poll, looks at the backlog. Goes on until the last task has ended.
    private func keepTime() async {
        var renewAt = time.now() + configuration.lease / 3
        while !Task.isCancelled {
            // What could not be renewed is tried again at the next poll: the database may be back.
            if time.now() >= renewAt, await renew() { renewAt = time.now() + configuration.lease / 3 }
            store.roster.wake()
            await survey()
            // Stopping is looked at often: the process waits for it.
            let pause = min(configuration.poll, .milliseconds(200))
            let next = time.now() + configuration.poll
            while time.now() < next {
                if stopped.load(ordering: .relaxed), store.roster.count == 0 { return }
                do { try await time.sleep(for: pause) } catch { return }
            }
        }
    }

    private func survey() async {
        do {
            let lost = try await store.failLost(maxAttempts: configuration.attempts)
            if lost > 0 { logger.warning("tasks failed: their workers were lost, or they were begun too often", metadata: ["tasks": "\(lost)"]) }
            let backlog = try await store.backlog()
            if meters.saw(backlog, at: time.now()) {
                logger.info("queued tasks are left to another version, which knows their types", metadata: ["tasks": "\(backlog.forOthers)"])
            }
        } catch {
            // The claimer meets the same database and speaks of it; the age of the backlog grows.
            logger.debug("backlog not read", metadata: ["reason": "\(error)"])
        }
    }

    /// - Returns: false when the database could not be asked.
    private func renew() async -> Bool {
        let tasks = store.roster.held
        guard !tasks.isEmpty else { return true }
        do {
            // One short statement for all of them. Without it every running task would be lost, and begun again by somebody: more load.
            let held = try await Work.$workClass.withValue(.critical) {
                try await store.renew(tasks, worker: name, lease: configuration.lease)
            }
            for task in tasks {
                if let asked = held[task] { store.roster.ask(asked, of: task) } else { store.roster.lose(task) }
            }
            return true
        } catch {
            logger.debug("leases not renewed", metadata: ["tasks": "\(tasks.count)", "reason": "\(error)"])
            return false
        }
    }
}
