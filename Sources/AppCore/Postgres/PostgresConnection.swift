import Glibc
import Synchronization
import Vitals

/// One connection: the caller sends under its lock, the event loop receives and resumes the caller.
///
/// One statement at a time. Whoever holds the lease uses it; the pool decides who that is.
final class PostgresConnection: EventHandler {
    let state: Mutex<State>
    let lost = Atomic(false)
    let loop: EventLoop
    let calls: BlockingCalls
    let socket: Int32
    /// As the handshake had it; behind a pooler the pooler's invention.
    let reportedPID: Int32
    let cancelHandle: LibpqCancel?

    let onNotices: (@Sendable ([ServerNotice]) -> Void)?

    /// - Parameter onNotices: gets the notices of the server, on a thread of the loop.
    init(
        established libpq: LibpqConnection, loop: EventLoop, calls: BlockingCalls, onNotices: (@Sendable ([ServerNotice]) -> Void)? = nil
    ) {
        libpq.becomeNonBlocking()
        socket = libpq.socket
        reportedPID = libpq.backendPID
        cancelHandle = libpq.cancelHandle()
        self.loop = loop
        self.calls = calls
        self.onNotices = onNotices
        let facts = ServerFacts(backendPID: reportedPID, isInRecovery: false, isBehindPooler: false)
        state = Mutex(State(libpq: libpq, facts: facts))
        loop.register(socket, .readable, handler: self)
    }

    /// What the server said about itself when the session was set up.
    var facts: ServerFacts { state.withLock { $0.facts } }

    /// The server's process; 0 behind a pooler, which has another one for each transaction.
    var backendPID: Int32 { facts.backendPID ?? 0 }

    /// Which of the endpoint's servers this is; nil once the connection is gone.
    var server: HostEntry? { state.withLock { $0.libpq?.currentHost } }

    /// The session is set up: from here on what changes it is noted.
    func begin(_ facts: ServerFacts, _ statements: StatementCache) {
        state.withLock { state in
            state.facts = facts
            // Judged by facts that were not yet known.
            state.isCondemned = false
            state.statements = statements
            state.sessionChanged = false
        }
    }

    /// Called once, on a thread of the loop, if the server closes the connection while nobody uses it.
    func whenLostWhileIdle(_ body: @escaping @Sendable (PostgresConnection) -> Void) {
        let lostAlready = state.withLock { state in
            if state.phase == .lost { return true }
            state.onLostWhileIdle = body
            return false
        }
        if lostAlready { body(self) }
    }

    // MARK: Statements

    func query(_ sql: SQL, until deadline: Deadline) async throws(PostgresError) -> Rows {
        try await run(.statement(sql), until: deadline)[0]
    }

    /// Independent statements in one round trip. Outside a transaction block they are one transaction: an error undoes all.
    func batch(_ statements: [SQL], until deadline: Deadline) async throws(PostgresError) -> [Rows] {
        try await run(.batch(statements), until: deadline)
    }

    /// Several statements in one text, without parameters, as the simple protocol takes them.
    func script(_ text: String, until deadline: Deadline) async throws(PostgresError) {
        _ = try await scriptRows(text, until: deadline)
    }

    /// The same; answers what its last statement returned.
    func scriptRows(_ text: String, until deadline: Deadline) async throws(PostgresError) -> Rows {
        try await run(.script(text), until: deadline)[0]
    }

    private func run(_ request: Operation.Request, until deadline: Deadline) async throws(PostgresError) -> [Rows] {
        let answer = await withTaskCancellationHandler {
            await withCheckedContinuation { send(request, until: deadline, .caller($0)) }
        } onCancel: {
            abandon(because: .cancelled) { _ in true }
        }
        if let error = answer.error { throw error }
        return answer.rows
    }

    /// Independent statements in one round trip; `body` gets their answers, on a thread of the loop, or at once when the connection breaks.
    ///
    /// There is no deadline: whoever sends this way watches over it, with `cancel(until:)` and `giveUp(for:)`.
    ///
    /// - Parameter owner: lives until `body` has been called.
    /// - Returns: false when the server has not got them and will not: then `body` is not called.
    func send(_ statements: [SQL], for owner: AnyObject, _ body: @escaping @Sendable (Operation.Answer) -> Void) -> Bool {
        switch begin(.batch(statements), until: .never, .owner(ObjectIdentifier(owner), body)) {
        case .sent: return true
        case .notSent: return false
        case .broken(let error):
            body(Operation.Answer(error: error))
            return true
        }
    }

    private func send(_ request: Operation.Request, until deadline: Deadline, _ responder: Operation.Responder) {
        switch begin(request, until: deadline, responder) {
        case .sent: break
        case .notSent(let error), .broken(let error): responder.tell(Operation.Answer(error: error))
        }
    }

    private enum Sending {
        case sent
        /// It will not take effect.
        case notSent(PostgresError)
        /// The connection broke on the way: whether it takes effect is not known.
        case broken(PostgresError)
    }

    private func begin(_ request: Operation.Request, until deadline: Deadline, _ responder: Operation.Responder) -> Sending {
        // The waiter is stored and the statement sent in one step: a reply cannot come before there is someone to take it.
        state.withLock { state in
            let now = MonotonicInstant.now()
            guard !deadline.hasPassed(at: now) else { return .notSent(.deadlineExceeded(after: .zero)) }
            // A cancellation that came before the statement was stored found nothing to abandon.
            if responder.isTask, Task.isCancelled { return .notSent(.cancelled) }
            guard !request.hasZeroByte else { return .notSent(.server(.zeroByte)) }
            return begin(Operation(request: request, startedAt: now, deadline: deadline, responder: responder), &state)
        }
    }

    private func begin(_ operation: Operation, _ state: inout State) -> Sending {
        switch state.phase {
        case .idle: break
        case .busy: return .notSent(.notSent("the connection is busy with another statement"))
        case .abandoned: return .notSent(.notSent("the statement before was given up and still runs"))
        case .lost: return .notSent(.connectionLost(state.lossReason))
        }
        guard let libpq = state.libpq else { return .notSent(.connectionLost("closed")) }
        var operation = operation
        state.lastStatement = operation.request.text
        guard operation.begin(on: libpq, statements: &state.statements) else {
            // Half a batch cannot be taken back; without its Sync the server undoes it.
            if case .batch = operation.request { return .notSent(lose(&state, libpq.errorMessage)) }
            return .notSent(.notSent(libpq.errorMessage))
        }
        let flushed = libpq.flush()
        guard flushed != .failed else {
            state.noteEnds(unheard: operation)
            return .broken(lose(&state, libpq.errorMessage))
        }
        if case .batch = operation.request { state.inPipeline = true }
        if flushed == .wouldBlock { loop.update(socket, [.readable, .writable]) }
        arm(&state, operation.deadline)
        state.operation = operation
        state.phase = .busy
        return .sent
    }

    // MARK: The pool's side

    var condition: Condition {
        state.withLock { state in
            switch state.phase {
            case .lost: return .lost(reason: state.lossReason)
            case .busy, .abandoned: return .needsRecovery
            case .idle:
                if state.isCondemned { return state.condemnation }
                guard state.libpq?.transactionStatus == .idle else { return .needsRecovery }
                return state.sessionChanged ? .sessionChanged : .reusable
            }
        }
    }

    /// Whether it is gone, as far as is known here. Without the lock: this is asked at every lease.
    var isLost: Bool { lost.load(ordering: .acquiring) }

    /// The statement that runs or ran last, how many share its round trip, and whether a transaction is open: for the list of holders.
    var activity: (statement: String?, batched: Int?, inTransaction: Bool) {
        state.withLock { state in
            let status = state.libpq?.transactionStatus
            var batched: Int?
            if case .batch(let statements) = state.operation?.request { batched = statements.count }
            return (state.lastStatement, batched, status == .inTransaction || status == .inError)
        }
    }

    /// Whether a transaction block is open, be it failed or not.
    var isInTransaction: Bool {
        state.withLock { state in
            let status = state.libpq?.transactionStatus
            return status == .inTransaction || status == .inError
        }
    }

    /// Whether the server says that none is. Not the opposite: while a statement runs, and once the connection is gone, neither is known.
    var isOutsideTransaction: Bool { state.withLock { $0.libpq?.transactionStatus == .idle } }

    /// Of this connection so far. What differs after a while has ended the transaction that was open before.
    var transactionEnds: TransactionEnds { state.withLock { $0.transactionEnds } }

    func markSessionChanged() { state.withLock { $0.sessionChanged = true } }

    /// The server has forgotten all of the session, its prepared statements too.
    func sessionIsRestored() {
        state.withLock { state in
            state.statements = state.statements.renewed()
            state.sessionChanged = false
        }
    }

    /// A statement that was given up still runs.
    var isAbandoned: Bool { state.withLock { $0.phase == .abandoned } }

    /// Nobody is to get it after the present lease.
    func condemn(because reason: String) { state.withLock { $0.condemn(.lost(reason: reason)) } }

    /// Says goodbye to the server and frees the socket. Harmless when repeated.
    func close() {
        perform(state.withLock { state in
            if state.phase == .idle { state.onLostWhileIdle = nil }
            return end(&state, with: "closed by the pool")
        })
    }
}
