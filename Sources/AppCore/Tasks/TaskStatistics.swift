import Synchronization
public import Vitals

/// How a task ended, as the metrics tell it.
public enum TaskOutcome: String, Sendable, Hashable, CaseIterable {
    case succeeded, failed, cancelled
    /// A step took longer than it may.
    case timeout
}

/// What the worker has seen, at one moment.
public struct TaskStatistics: Sendable {
    /// Tasks this process runs now.
    public var running: Int
    /// Tasks this process may run at once.
    public var limit: Int
    /// Queued and running tasks of all workers; nil until the table was read, or when it was last read longer ago than `backlogAge` allows.
    public var backlog: [AgentTask.State: Int]?
    /// Age of `backlog`.
    public var backlogAge: Duration?
    /// Of tasks of types that this program knows; nil when none is queued, or the table was not read.
    public var oldestQueued: Duration?
    /// From queued to claimed.
    public var queue: HistogramSnapshot
    /// From claimed to finished.
    public var run: [TaskOutcome: HistogramSnapshot]
    /// Tasks given back to the queue because something they need failed.
    public var retries: Int
    /// Running tasks whose lease ended before they were done.
    public var leasesLost: Int
    /// True while the last attempt to claim failed.
    public var claimFailing: Bool
}

/// Where the worker counts.
final class TaskMeters: Sendable {
    private struct Seen: Sendable {
        var backlog: AgentTaskStore.Backlog
        var at: MonotonicInstant
    }

    let queue = Histogram()
    let run = Dictionary(uniqueKeysWithValues: TaskOutcome.allCases.map { ($0, Histogram()) })
    let retries = Counter()
    let leasesLost = Counter()
    private let seen = Mutex<Seen?>(nil)
    private let failing = Mutex(false)

    /// - Returns: true when there are tasks for others now, and were none before.
    func saw(_ backlog: AgentTaskStore.Backlog, at now: MonotonicInstant) -> Bool {
        seen.withLock { seen in
            defer { seen = Seen(backlog: backlog, at: now) }
            return backlog.forOthers > 0 && seen?.backlog.forOthers ?? 0 == 0
        }
    }

    /// - Returns: true when that is news.
    func claimFailed(_ failed: Bool) -> Bool {
        failing.withLock { failing in
            defer { failing = failed }
            return failing != failed
        }
    }

    func statistics(running: Int, limit: Int, now: MonotonicInstant) -> TaskStatistics {
        let seen = seen.withLock { $0 }
        return TaskStatistics(
            running: running, limit: limit, backlog: seen?.backlog.byState, backlogAge: seen.map { now - $0.at },
            oldestQueued: seen?.backlog.oldestQueued,
            queue: queue.snapshot(), run: run.mapValues { $0.snapshot() }, retries: retries.value, leasesLost: leasesLost.value,
            claimFailing: failing.withLock { $0 })
    }
}
