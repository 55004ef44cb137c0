import Synchronization
import Vitals

/// A caller in the queue. It is told once, perhaps before it listens: that it has a connection, or why it gets none.
final class Waiter: Sendable {
    typealias Answer = Result<PooledConnection, PoolError>
    typealias Continuation = CheckedContinuation<Answer, Never>

    private enum State {
        case nobodyListens
        case task(Continuation)
        case batch(@Sendable (Answer) -> Void)
        case told(Answer)
    }

    let caller: Caller
    /// When it began to ask for this connection. Later than `caller.since` for a caller that rode in a batch before, or runs again after a conflict.
    let since: MonotonicInstant
    /// Its place in the queue.
    let position: WaitQueue.Position
    private let state = Mutex(State.nobodyListens)

    init(_ caller: Caller, since: MonotonicInstant, at position: WaitQueue.Position) {
        self.caller = caller
        self.since = since
        self.position = position
    }

    func tell(_ answer: Answer) {
        let listener = state.withLock { state in
            defer { state = .told(answer) }
            return state
        }
        switch listener {
        case .task(let task): task.resume(returning: answer)
        case .batch(let body): body(answer)
        case .nobodyListens, .told: break
        }
    }

    /// Resumes the task with the answer: now when it is there, else when it comes.
    func listen(_ task: Continuation) {
        if let answer = listen(.task(task)) { task.resume(returning: answer) }
    }

    /// Calls `body` with the answer: now when it is there, else on the thread of whoever brings it.
    func whenTold(_ body: @escaping @Sendable (Answer) -> Void) {
        if let answer = listen(.batch(body)) { body(answer) }
    }

    private func listen(_ listener: State) -> Answer? {
        state.withLock { state in
            if case .told(let answer) = state { return answer }
            state = listener
            return nil
        }
    }
}

extension Waiter: Hashable {
    static func == (one: Waiter, other: Waiter) -> Bool { one === other }

    func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}
