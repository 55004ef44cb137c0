import Synchronization

/// The loop's side of a connection: what comes in from the server, until the statement that runs is answered.
extension PostgresConnection {
    enum Outcome {
        case nothing
        case answer(Operation.Responder, Operation.Answer)
        case drained(CheckedContinuation<Void, Never>?)
        case lostWhileIdle((@Sendable (PostgresConnection) -> Void)?)
    }

    func ready(_ events: EventLoop.Events) {
        let (outcome, notices) = state.withLock { state in
            let outcome = receive(events, &state)
            return (outcome, state.libpq?.takeNotices() ?? [])
        }
        if !notices.isEmpty { onNotices?(notices) }
        perform(outcome)
    }

    func perform(_ outcome: Outcome) {
        switch outcome {
        case .nothing: break
        case .answer(let responder, let answer): responder.tell(answer)
        case .drained(let continuation): continuation?.resume()
        case .lostWhileIdle(let observer): observer?(self)
        }
    }

    private func receive(_ events: EventLoop.Events, _ state: inout State) -> Outcome {
        guard let libpq = state.libpq else { return .nothing }
        if !events.isDisjoint(with: .writable) {
            switch libpq.flush() {
            case .done: loop.update(socket, .readable)
            case .wouldBlock: break
            case .failed: return end(&state, with: libpq.errorMessage)
            }
        }
        guard libpq.consumeInput() else { return end(&state, with: libpq.errorMessage) }
        libpq.discardNotifications()
        // Each round takes something from what has come, or is the last: one connection never keeps the loop.
        var isBetweenAnswers = false
        while !libpq.isBusy {
            guard let result = libpq.nextResult() else {
                guard state.inPipeline else { return finish(&state, libpq) }
                guard !isBetweenAnswers else { return end(&state, with: "the server's answers do not match what was sent") }
                isBetweenAnswers = true
                state.operation?.closePart(statements: &state.statements)
                continue
            }
            isBetweenAnswers = false
            switch result.kind {
            case .synced:
                state.inPipeline = false
                guard libpq.leavePipeline() else { return end(&state, with: libpq.errorMessage) }
                return finish(&state, libpq)
            case .copy(let copy):
                if let outcome = refuse(copy, &state, libpq) { return outcome }
            case .unsupported: return end(&state, with: "the server answered in a way that is not understood here")
            // Nobody takes it when the caller has given up.
            case .command, .tuples, .error, .empty, .skipped: state.operation?.take(result)
            }
        }
        return .nothing
    }

    /// The server has said all there is to say about the statement.
    private func finish(_ state: inout State, _ libpq: LibpqConnection) -> Outcome {
        if !state.isCondemned, let reason = libpq.changeOfRole(since: state.facts) { state.condemn(.demoted(reason: reason)) }
        switch state.phase {
        case .idle, .lost: return .nothing
        case .abandoned:
            state.phase = .idle
            defer { state.drained = nil }
            return .drained(state.drained)
        case .busy: break
        }
        guard var operation = state.operation.take() else { return .nothing }
        switch operation.next(outsideTransaction: libpq.transactionStatus == .idle, statements: &state.statements) {
        case .sendAgain:
            guard operation.send(on: libpq, statements: &state.statements), case let flushed = libpq.flush(), flushed != .failed else {
                state.operation = operation
                return end(&state, with: libpq.errorMessage)
            }
            if flushed == .wouldBlock { loop.update(socket, [.readable, .writable]) }
            if case .batch = operation.request { state.inPipeline = true }
            state.operation = operation
            return .nothing
        case .answer(let answer):
            state.note(operation.changedSession)
            state.transactionEnds = state.transactionEnds + operation.transactionEnds
            if operation.droppedNames { state.statements.areGone() }
            if case .server(let error) = answer.error {
                if error.condemnsConnection { state.condemn(.lost(reason: error.message)) }
                if libpq.isDemoted(by: error, state.facts, ownDoing: state.sessionChanged) { state.condemn(.demoted(reason: error.message)) }
            }
            state.phase = .idle
            return .answer(operation.responder, answer)
        }
    }

    /// The connection is gone, whatever it was doing.
    func end(_ state: inout State, with reason: String) -> Outcome {
        let (before, operation, drained, observer) = (state.phase, state.operation.take(), state.drained.take(), state.onLostWhileIdle)
        if let operation { state.noteEnds(unheard: operation) }
        _ = lose(&state, reason)
        switch before {
        case .busy: return operation.map { .answer($0.responder, $0.lost(reason)) } ?? .nothing
        case .abandoned: return .drained(drained)
        case .idle: return .lostWhileIdle(observer)
        case .lost: return .nothing
        }
    }

    func lose(_ state: inout State, _ reason: String) -> PostgresError {
        loop.deregister(socket, handler: self)
        state.phase = .lost
        lost.store(true, ordering: .releasing)
        state.lossReason = reason
        state.libpq = nil
        state.onLostWhileIdle = nil
        return .connectionLost(reason)
    }
}
