import Synchronization
import Vitals

/// What a worker holds: one task, in one attempt. A later attempt at the same task is another thing.
struct HeldTask: Hashable, Sendable {
    var id: AgentTask.ID
    var attempt: Int
}

extension AgentTask {
    var held: HeldTask { HeldTask(id: id, attempt: attempt) }
}

/// What the store and the worker of one process tell each other without the database: there is work; something was asked.
///
/// A task has one entry, from its claim to the end of its run, and is not claimed again as long as it has one: one run per task and process.
/// What is said about another attempt than the entry's changes nothing.
final class TaskRoster: Sendable {
    private struct Entry {
        var attempt: Int
        var requested: TaskAction?
        var lost = false
    }

    private let running = Mutex<[AgentTask.ID: Entry]>([:])
    private let wakeups: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation

    init() {
        // One wake-up is enough however many tasks came: the worker claims all it has room for.
        (wakeups, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// Ends with `close`. For the one worker.
    var workIsThere: AsyncStream<Void> { wakeups }

    func wake() {
        continuation.yield()
    }

    func close() {
        continuation.finish()
    }

    func enter(_ task: HeldTask, requested: TaskAction?) {
        running.withLock { $0[task.id] = Entry(attempt: task.attempt, requested: requested) }
    }

    func leave(_ task: HeldTask) {
        running.withLock { running in
            guard running[task.id]?.attempt == task.attempt else { return }
            running[task.id] = nil
        }
    }

    /// Nil takes back what was asked. Of a task that runs elsewhere nothing is known here: its worker reads the row.
    func ask(_ action: TaskAction?, of task: HeldTask) {
        change(task) { $0.requested = action }
    }

    func lose(_ task: HeldTask) {
        change(task) { $0.lost = true }
    }

    private func change(_ task: HeldTask, _ body: (inout Entry) -> Void) {
        running.withLock { running in
            guard var entry = running[task.id], entry.attempt == task.attempt else { return }
            body(&entry)
            running[task.id] = entry
        }
    }

    func state(of task: HeldTask) -> (requested: TaskAction?, lost: Bool) {
        running.withLock { running in
            guard let entry = running[task.id], entry.attempt == task.attempt else { return (nil, true) }
            return (entry.requested, entry.lost)
        }
    }

    var held: [HeldTask] { running.withLock { $0.map { HeldTask(id: $0.key, attempt: $0.value.attempt) } } }
    var count: Int { running.withLock { $0.count } }
}
