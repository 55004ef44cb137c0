import Synchronization

/// Where one caller waits for its part of a batch. It is told once, by whoever has something to tell first: the answer, its deadline,
/// its cancellation.
final class Seat: Sendable {
    private enum State {
        case empty
        case taken(CheckedContinuation<Batch.Outcome, Never>)
        case left
    }

    private let state = Mutex(State.empty)

    /// - Returns: false when the caller was cancelled on its way here.
    func take(_ continuation: CheckedContinuation<Batch.Outcome, Never>) -> Bool {
        state.withLock { state in
            guard case .empty = state else { return false }
            state = .taken(continuation)
            return true
        }
    }

    /// Whether there is still somebody to tell.
    var isTaken: Bool { state.withLock { if case .taken = $0 { true } else { false } } }

    /// - Returns: whether this was what the caller got.
    @discardableResult
    func tell(_ outcome: Batch.Outcome) -> Bool {
        let before = state.withLock { state in
            defer { state = .left }
            return state
        }
        guard case .taken(let continuation) = before else { return false }
        continuation.resume(returning: outcome)
        return true
    }
}
