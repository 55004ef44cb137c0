import Synchronization
import Vitals

/// What the store and the worker of one process tell each other without the database: there is work; something was asked.
final class TaskRoster: Sendable {
    private struct Entry {
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

    func enter(_ id: AgentTask.ID, requested: TaskAction?) {
        running.withLock { $0[id] = Entry(requested: requested) }
    }

    func leave(_ id: AgentTask.ID) {
        running.withLock { _ = $0.removeValue(forKey: id) }
    }

    /// Nil takes back what was asked. Of a task that runs elsewhere nothing is known here: its worker reads the row.
    func ask(_ action: TaskAction?, of id: AgentTask.ID) {
        running.withLock { $0[id]?.requested = action }
    }

    func lose(_ id: AgentTask.ID) {
        running.withLock { $0[id]?.lost = true }
    }

    func state(of id: AgentTask.ID) -> (requested: TaskAction?, lost: Bool) {
        running.withLock { running in running[id].map { ($0.requested, $0.lost) } ?? (nil, true) }
    }

    var ids: [AgentTask.ID] { running.withLock { Array($0.keys) } }
    var count: Int { running.withLock { $0.count } }
}
