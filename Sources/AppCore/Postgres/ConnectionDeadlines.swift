import Synchronization
import Vitals

/// Giving up what takes too long: the caller is told at once, the server afterwards.
extension PostgresConnection {
    func arm(_ state: inout State, _ deadline: Deadline) {
        guard state.timer.mustRun(at: deadline.instant) else { return }
        loop.schedule(at: deadline.instant) { [self] in timerFired() }
    }

    private func timerFired() {
        let now = MonotonicInstant.now()
        let expired = state.withLock { state in
            guard state.timer.ran(now: now), let operation = state.operation else { return false }
            if operation.deadline.hasPassed(at: now) { return true }
            arm(&state, operation.deadline)
            return false
        }
        guard expired else { return }
        takeWhatHasCome()
        abandon { $0.deadline.hasPassed(at: now) }
    }

    /// The answer may be there, and only the thread that is to read it be late: asked before anything is given up.
    func takeWhatHasCome() {
        ready(.readable)
    }

    /// Answers the caller now and leaves the statement to `recover`.
    func abandon(because reason: PostgresError? = nil, _ condition: @Sendable (Operation) -> Bool) {
        let given = state.withLock { state -> (Operation.Responder, MonotonicInstant)? in
            guard let present = state.operation, condition(present), let operation = state.abandonOperation() else { return nil }
            return (operation.responder, operation.startedAt)
        }
        guard let (responder, startedAt) = given else { return }
        responder.tell(Operation.Answer(error: reason ?? .deadlineExceeded(after: .now() - startedAt)))
    }

    /// Tells the owner of what runs that there is no answer, and leaves the statement to `recover`. What runs for others is left alone: the
    /// answer may have come meanwhile, and the connection have gone to somebody else.
    func giveUp(for owner: AnyObject) {
        let id = ObjectIdentifier(owner)
        abandon { $0.responder.isOwner(id) }
    }

    /// Returns when the server has finished what was given up, or at the deadline.
    func drained(until deadline: Deadline) async {
        let timer = loop.schedule(at: deadline.instant) { [self] in
            let waiting = state.withLock { $0.drained.take() }
            waiting?.resume()
        }
        await withCheckedContinuation { continuation in
            let over = state.withLock { state in
                guard state.phase == .abandoned, state.drained == nil, !deadline.hasPassed(at: .now()) else { return true }
                state.drained = continuation
                return false
            }
            if over { continuation.resume() }
        }
        loop.cancel(timer)
    }
}
