import Synchronization

/// Somebody who stands in the line, until it is told once: that it has a connection, or why it gets none.
///
/// What it is told may come before it listens.
final class Waiter: Sendable {
    typealias Answer = Result<PooledConnection, PoolError>

    private enum State {
        case silent
        case listening(@Sendable (Answer) -> Void)
        case told(Answer)
    }

    let caller: Caller
    /// Where it stands.
    let position: WaitingLine.Position
    private let state = Mutex(State.silent)

    init(_ caller: Caller, at position: WaitingLine.Position) {
        self.caller = caller
        self.position = position
    }

    func tell(_ answer: Answer) {
        let listener = state.withLock { state -> (@Sendable (Answer) -> Void)? in
            defer { state = .told(answer) }
            return if case .listening(let listener) = state { listener } else { nil }
        }
        listener?(answer)
    }

    /// Calls `body` with the answer: now when it is there, else on the thread of whoever brings it.
    func whenTold(_ body: @escaping @Sendable (Answer) -> Void) {
        let answer = state.withLock { state -> Answer? in
            if case .told(let answer) = state { return answer }
            state = .listening(body)
            return nil
        }
        if let answer { body(answer) }
    }

    /// The answer, when it comes.
    var answer: Answer {
        get async {
            await withCheckedContinuation { continuation in whenTold { continuation.resume(returning: $0) } }
        }
    }
}

extension Waiter: Hashable {
    static func == (one: Waiter, other: Waiter) -> Bool { one === other }

    func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}
