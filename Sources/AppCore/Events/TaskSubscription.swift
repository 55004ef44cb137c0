import Synchronization

/// One reader's place in the events of one task: behind in the stored rows, or live with a bounded buffer.
final class TaskSubscription: Sendable {
    enum Position: Hashable {
        /// Reads rows after this number. Leads to live when they are read to the end.
        case replaying(after: Int)
        /// Gets events as they are published. Leads back to replaying when more comes at once than is kept.
        case live
        case ended
    }

    private struct State {
        var position = Position.replaying(after: 0)
        /// The highest number published while rows were still read: live only when the rows have brought it.
        var highestPublished = 0
        /// While live: the next number to go into `buffer`.
        var expected = 1
        var buffer: [TaskEvent] = []
        /// Came before their turn: two writers commit in one order and publish in another.
        var early: [Int: TaskEvent] = [:]
        var finished = false
        /// Sent before the stream ends.
        var lastWord: ServerSentEvent?
        var waiter: CheckedContinuation<[TaskEvent], Never>?

        mutating func takeIfReady() -> [TaskEvent]? {
            if position != .live { return [] }
            guard !buffer.isEmpty else { return nil }
            defer { buffer = [] }
            return buffer
        }

        /// The waiter, with what it is to be resumed with.
        mutating func wake() -> (CheckedContinuation<[TaskEvent], Never>, [TaskEvent])? {
            guard let waiter, let events = takeIfReady() else { return nil }
            self.waiter = nil
            return (waiter, events)
        }
    }

    let taskID: AgentTask.ID
    private let limit: Int
    private let state = Mutex(State())

    init(taskID: AgentTask.ID, limit: Int) {
        self.taskID = taskID
        self.limit = limit
    }

    var position: Position { state.withLock { $0.position } }

    /// The last number this reader has, or the greatest there is when nothing more can come; nil unless it is live.
    var lastSeenWhileLive: Int? {
        state.withLock { state in
            guard state.position == .live else { return nil }
            return state.finished ? Int.max : state.expected - 1
        }
    }

    func begin(after sequence: Int) {
        state.withLock { state in
            if state.position != .ended { state.position = .replaying(after: sequence) }
        }
    }

    /// - Parameter isLast: there were no more rows when these were read.
    func replayed(through sequence: Int, isLast: Bool) {
        state.withLock { state in
            guard case .replaying(let previous) = state.position else { return }
            // Rows that bring nothing: what was published is gone, or this reading is shared and began before it. The hub's look each second knows.
            if isLast, state.highestPublished <= sequence || sequence == previous {
                state.position = .live
                state.expected = sequence + 1
            } else {
                state.position = .replaying(after: sequence)
            }
        }
    }

    /// Back to the stored rows, from the first that its reader has not taken: more has come at once than is kept for it.
    func replayAgain() {
        let wakeup = state.withLock { state -> (CheckedContinuation<[TaskEvent], Never>, [TaskEvent])? in
            guard state.position == .live else { return nil }
            state.position = .replaying(after: (state.buffer.first?.sequence ?? state.expected) - 1)
            state.highestPublished = max(state.highestPublished, state.expected - 1, state.early.keys.max() ?? 0)
            state.buffer = []
            state.early = [:]
            return state.wake()
        }
        if let (waiter, events) = wakeup { waiter.resume(returning: events) }
    }

    /// - Returns: events waiting for the reader, and how many it has lost because it was too slow.
    func offer(_ events: [TaskEvent]) -> (backlog: Int, dropped: Int) {
        let (result, wakeup) = state.withLock { state in
            let dropped = accept(events, &state)
            return ((state.buffer.count, dropped), state.wake())
        }
        if let (waiter, events) = wakeup { waiter.resume(returning: events) }
        return result
    }

    private func accept(_ events: [TaskEvent], _ state: inout State) -> Int {
        guard state.position != .ended else { return 0 }
        guard state.position == .live else {
            state.highestPublished = max(state.highestPublished, events.map(\.sequence).max() ?? 0)
            return 0
        }
        for event in events where event.sequence >= state.expected { state.early[event.sequence] = event }
        while let next = state.early.removeValue(forKey: state.expected) {
            state.buffer.append(next)
            state.expected += 1
            if next.kind.isFinal { state.finished = true }
        }
        let held = state.buffer.count + state.early.count
        guard held > limit else { return 0 }
        state.position = .ended
        state.buffer = []
        state.early = [:]
        return held
    }

    func end(saying lastWord: ServerSentEvent? = nil) {
        let wakeup = state.withLock { state in
            if state.position != .ended { state.lastWord = lastWord }
            state.position = .ended
            return state.wake()
        }
        if let (waiter, events) = wakeup { waiter.resume(returning: events) }
    }

    /// What the reader is told when its stream has ended; once.
    func takeLastWord() -> ServerSentEvent? {
        state.withLock { state in
            defer { state.lastWord = nil }
            return state.lastWord
        }
    }

    /// What has come since the last call, waiting for the first of it; empty when it is not live any more, or the task is cancelled.
    func take() async -> [TaskEvent] {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let ready = state.withLock { state -> [TaskEvent]? in
                    if Task.isCancelled { state.position = .ended }
                    if let events = state.takeIfReady() { return events }
                    state.waiter = continuation
                    return nil
                }
                if let ready { continuation.resume(returning: ready) }
            }
        } onCancel: {
            end()
        }
    }
}
