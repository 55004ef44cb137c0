import DequeModule
import Synchronization
import Vitals

/// One TCP or unix connection to Redis, from connect to its first error: then it is thrown away.
///
/// All callers share it; commands are pipelined, written once at the end of a loop turn, and answered in order.
final class RedisLink: EventHandler {
    typealias Answer = Result<RedisReply, RedisError>

    private struct Pending {
        var id: Int
        var sentAt: MonotonicInstant
        var deadline: Deadline
        var continuation: CheckedContinuation<Answer, Never>?
    }

    private struct State {
        var context: HiredisContext?
        var isConnecting = true
        var pending = Deque<Pending>()
        var nextID = 0
        var flushIsDue = false
        var interest: EventLoop.Events = [.readable, .writable]
        var timer = EarliestTimer()
        var failure: String?
        /// Nobody waited for an answer when it ended.
        var endedIdle = false
        var ended: CheckedContinuation<Void, Never>?
    }

    /// Commands on their way. Beyond it Redis is not keeping up, and another would only wait.
    static let pendingLimit = 10_000

    private let state: Mutex<State>
    private let loop: EventLoop
    private let socket: Int32

    /// - Throws: `RedisError.down` when the connect fails at once, as for a missing socket file.
    init(connectingTo address: RedisEndpoint.Address, loop: EventLoop) throws(RedisError) {
        guard let context = HiredisContext(connectingTo: address) else { throw .down(reason: "out of memory", since: .zero) }
        if let failure = context.failure { throw .down(reason: failure, since: .zero) }
        socket = context.socket
        self.loop = loop
        state = Mutex(State(context: context))
        loop.register(socket, [.readable, .writable], handler: self)
    }

    /// - Throws: `RedisError`. After `timeout` the link is gone: the late reply would answer somebody else.
    func command(_ arguments: [RedisArgument], until deadline: Deadline) async throws(RedisError) -> RedisReply {
        let id = state.withLock { state in
            defer { state.nextID += 1 }
            return state.nextID
        }
        let answer = await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Answer, Never>) in
                if let failure = send(id, arguments, deadline, continuation) { continuation.resume(returning: .failure(failure)) }
            }
        } onCancel: {
            forget(id)
        }
        return try answer.get()
    }

    private func send(
        _ id: Int, _ arguments: [RedisArgument], _ deadline: Deadline, _ continuation: CheckedContinuation<Answer, Never>
    ) -> RedisError? {
        let now = MonotonicInstant.now()
        let (failure, mustFlush) = state.withLock { state -> (RedisError?, Bool) in
            if Task.isCancelled { return (.cancelled, false) }
            guard let context = state.context else { return (.connectionLost(state.failure ?? "closed"), false) }
            guard !deadline.hasPassed(at: now) else { return (.timeout(after: .zero), false) }
            guard state.pending.count < Self.pendingLimit else { return (.tooManyPending(limit: Self.pendingLimit), false) }
            guard context.append(arguments) else { return (.connectionLost("out of memory"), false) }
            state.pending.append(Pending(id: id, sentAt: now, deadline: deadline, continuation: continuation))
            arm(&state, deadline)
            defer { state.flushIsDue = true }
            return (nil, !state.flushIsDue && !state.isConnecting)
        }
        if mustFlush { loop.atTurnEnd { [self] in flush() } }
        return failure
    }

    /// A caller that leaves keeps its place in the order of replies.
    private func forget(_ id: Int) {
        let continuation = state.withLock { state -> CheckedContinuation<Answer, Never>? in
            guard let index = state.pending.firstIndex(where: { $0.id == id }) else { return nil }
            defer { state.pending[index].continuation = nil }
            return state.pending[index].continuation
        }
        continuation?.resume(returning: .failure(.cancelled))
    }

    // MARK: The loop's side

    private func flush() {
        let failure = state.withLock { state -> String? in
            guard let context = state.context else { return nil }
            state.flushIsDue = false
            return write(context, &state)
        }
        if let failure { end(failure) }
    }

    private func write(_ context: HiredisContext, _ state: inout State) -> String? {
        let interest: EventLoop.Events
        switch context.write() {
        case .all: interest = .readable
        case .some: interest = [.readable, .writable]
        case .failed: return context.failure ?? "write failed"
        }
        // Nearly every write goes out whole: no system call then.
        if state.interest != interest {
            state.interest = interest
            loop.update(socket, interest)
        }
        return nil
    }

    func ready(_ events: EventLoop.Events) {
        var answers: [(CheckedContinuation<Answer, Never>, Answer)] = []
        let failure = state.withLock { state -> String? in
            guard let context = state.context else { return nil }
            if state.isConnecting {
                if let failure = context.connectFailure() { return failure }
                state.isConnecting = false
            }
            if !events.isDisjoint(with: .writable) {
                state.flushIsDue = false
                if let failure = write(context, &state) { return failure }
            }
            guard !events.isDisjoint(with: [.readable, .closed]) else { return nil }
            guard context.read() else { return context.failure ?? "closed by Redis" }
            while true {
                switch context.next() {
                case .nothing: return nil
                case .failed: return context.failure ?? "unreadable reply"
                case .reply(let answer):
                    guard let pending = state.pending.popFirst() else { return "a reply to no command" }
                    if let continuation = pending.continuation { answers.append((continuation, answer)) }
                }
            }
        }
        for (continuation, answer) in answers { continuation.resume(returning: answer) }
        if let failure { end(failure) }
    }

    private func arm(_ state: inout State, _ deadline: Deadline) {
        guard state.timer.mustRun(at: deadline.instant) else { return }
        loop.schedule(at: deadline.instant) { [weak self] in self?.timerFired() }
    }

    private func timerFired() {
        let now = MonotonicInstant.now()
        let (somebodyIsLate, isConnecting) = state.withLock { state in
            guard state.timer.ran(now: now) else { return (false, false) }
            return (isLate(&state, now), state.isConnecting)
        }
        guard somebodyIsLate else { return }
        // The reply may have come, and only the thread that is to read it be late.
        if !isConnecting { ready(.readable) }
        end("no answer in time", isTimeout: true) { self.isLate(&$0, now) }
    }

    /// Whether somebody's time is up; if not, the timer is set for the next.
    private func isLate(_ state: inout State, _ now: MonotonicInstant) -> Bool {
        guard let earliest = state.pending.map(\.deadline).min() else { return false }
        if earliest.hasPassed(at: now) { return true }
        arm(&state, earliest)
        return false
    }

    // MARK: The end

    /// Returns when the link has broken or was closed.
    func untilEnded() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let over = state.withLock { state in
                    guard state.context != nil else { return true }
                    state.ended = continuation
                    return false
                }
                if over { continuation.resume() }
            }
        } onCancel: {
            close()
        }
    }

    var failure: String? { state.withLock { $0.failure } }

    var endedIdle: Bool { state.withLock { $0.endedIdle } }

    func close() { end("closed") }

    private func end(_ reason: String, isTimeout: Bool = false, if condition: (inout State) -> Bool = { _ in true }) {
        let now = MonotonicInstant.now()
        let (pending, ended) = state.withLock { state -> (Deque<Pending>, CheckedContinuation<Void, Never>?) in
            guard state.context != nil, condition(&state) else { return ([], nil) }
            loop.deregister(socket, handler: self)
            state.context = nil
            state.failure = reason
            state.endedIdle = state.pending.isEmpty
            defer {
                state.pending = []
                state.ended = nil
            }
            return (state.pending, state.ended)
        }
        for waiter in pending {
            // Those that still had time lose their answer with the connection all the same.
            waiter.continuation?.resume(returning: .failure(isTimeout ? .timeout(after: now - waiter.sentAt) : .connectionLost(reason)))
        }
        ended?.resume()
    }
}
