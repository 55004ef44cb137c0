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
    /// Nil when none is queued, or the table was not read.
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
    struct Backlog: Sendable {
        var byState: [AgentTask.State: Int]
        var oldestQueued: Duration?
        var at: MonotonicInstant
    }

    let queue = Histogram()
    let run = Dictionary(uniqueKeysWithValues: TaskOutcome.allCases.map { ($0, Histogram()) })
    let retries = Counter()
    let leasesLost = Counter()
    private let backlog = Mutex<Backlog?>(nil)
    private let failing = Mutex(false)

    func saw(_ latest: Backlog) {
        backlog.withLock { $0 = latest }
    }

    /// - Returns: true when that is news.
    func claimFailed(_ failed: Bool) -> Bool {
        failing.withLock { failing in
            defer { failing = failed }
            return failing != failed
        }
    }

    func statistics(running: Int, limit: Int, now: MonotonicInstant) -> TaskStatistics {
        let seen = backlog.withLock { $0 }
        return TaskStatistics(
            running: running, limit: limit, backlog: seen?.byState, backlogAge: seen.map { now - $0.at }, oldestQueued: seen?.oldestQueued,
            queue: queue.snapshot(), run: run.mapValues { $0.snapshot() }, retries: retries.value, leasesLost: leasesLost.value,
            claimFailing: failing.withLock { $0 })
    }
}
