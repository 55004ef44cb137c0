import Synchronization

/// Where one caller waits for its part of a batch. It is told once, by whatever comes first: the answer, its deadline or its cancellation.
final class Seat: Sendable {
    private enum State {
        case empty
        case taken(CheckedContinuation<Batch.Outcome, Never>)
        /// Its statement is on its way to the server.
        case sent(CheckedContinuation<Batch.Outcome, Never>)
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

    /// Its statement is about to be sent.
    ///
    /// - Returns: false when nobody waits for it any more: it is not to be sent.
    func send() -> Bool {
        state.withLock { state in
            guard case .taken(let continuation) = state else { return false }
            state = .sent(continuation)
            return true
        }
    }

    /// The caller is cancelled. Once its statement is on its way, nobody knows whether it takes effect.
    func cancel() {
        switch leave() {
        case .empty, .left: break
        case .taken(let continuation): continuation.resume(returning: .failure(PoolError.cancelled))
        case .sent(let continuation): continuation.resume(returning: .failure(PostgresError.cancelled))
        }
    }

    /// - Returns: whether this was what the caller got.
    @discardableResult
    func tell(_ outcome: Batch.Outcome) -> Bool {
        switch leave() {
        case .empty, .left: return false
        case .taken(let continuation), .sent(let continuation):
            continuation.resume(returning: outcome)
            return true
        }
    }

    /// - Returns: what was there before.
    private func leave() -> State {
        state.withLock { state in
            defer { state = .left }
            return state
        }
    }
}
