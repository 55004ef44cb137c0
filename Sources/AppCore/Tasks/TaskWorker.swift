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
                        store: store, task: claim.task, configuration: configuration, meters: meters, time: time, logger: logger,
                        stopping: { self.isStopping })
                    // Entered here and not in the child: the next claim must already count it.
                    store.roster.enter(claim.task.id, requested: claim.task.requested)
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

    /// Wakes the claimer each poll, renews leases, looks at the backlog. Goes on until the last task has ended.
    private func keepTime() async {
        var renewAt = time.now() + configuration.lease / 3
        while !Task.isCancelled {
            store.roster.wake()
            await survey()
            if time.now() >= renewAt {
                await renew()
                renewAt = time.now() + configuration.lease / 3
            }
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
            if lost > 0 { logger.warning("tasks failed because their workers were lost", metadata: ["tasks": "\(lost)"]) }
            let backlog = try await store.backlog()
            meters.saw(TaskMeters.Backlog(byState: backlog.byState, oldestQueued: backlog.oldestQueued, at: time.now()))
        } catch {
            // The claimer meets the same database and speaks of it; the age of the backlog grows.
            logger.debug("backlog not read", metadata: ["reason": "\(error)"])
        }
    }

    private func renew() async {
        let ids = store.roster.ids
        guard !ids.isEmpty else { return }
        do {
            // One short statement for all of them. Without it every running task would be lost, and begun again by somebody: more load.
            let held = try await Work.$workClass.withValue(.critical) {
                try await store.renew(ids, worker: name, lease: configuration.lease)
            }
            for id in ids {
                if let asked = held[id] { store.roster.ask(asked, of: id) } else { store.roster.lose(id) }
            }
        } catch {
            logger.debug("leases not renewed", metadata: ["tasks": "\(ids.count)", "reason": "\(error)"])
        }
    }
}
