import Synchronization
import Vitals

/// Drives PQconnectPoll from the loop until the connection is open, has failed, or is held up by a host that does not answer.
final class Handshake: EventHandler {
    enum Outcome: Sendable {
        case established(LibpqConnection)
        case failed(PostgresError)
        /// This host has used up its share of the time. The connection is given up; the other hosts may still answer.
        case silent(HostEntry, after: Duration)

        func get() throws(PostgresError) -> LibpqConnection {
            switch self {
            case .established(let libpq): return libpq
            case .failed(let error): throw error
            case .silent(let host, let waited): throw .connectTimedOut("\(host)", after: waited)
            }
        }
    }

    private struct State {
        var libpq: LibpqConnection?
        var socket: Int32 = -1
        var continuation: CheckedContinuation<Outcome, Never>?
        /// The host libpq is busy with, and the timer of its share.
        var current: HostEntry?
        var timer: EventLoop.TimerID?
        /// A host has taken the connection, and has our first words.
        var isReached = false
    }

    private let state: Mutex<State>
    private let hosts: HostList?
    private let shares: [Duration?]
    private let loop: EventLoop

    /// - Parameter shares: how long each host may take; nil is until the deadline.
    init(_ libpq: LibpqConnection, hosts: HostList?, shares: [Duration?], loop: EventLoop) {
        state = Mutex(State(libpq: libpq))
        self.hosts = hosts
        self.shares = shares
        self.loop = loop
    }

    func complete(until deadline: Deadline, reachedBy: Deadline = .never) async -> Outcome {
        let started = MonotonicInstant.now()
        let timer = loop.schedule(at: deadline.instant) { [self] in
            finish(.failed(timedOut(after: deadline.instant - started)))
        }
        let reach = min(reachedBy, deadline).instant
        let reachTimer = loop.schedule(at: reach) { [self] in
            finish(.failed(timedOut(after: reach - started))) { !$0.isReached }
        }
        let outcome = await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Outcome, Never>) in
                let failedAtOnce = state.withLock { state -> PostgresError? in
                    // The timer of a deadline that passed before found nobody to tell.
                    guard let libpq = state.libpq, !deadline.hasPassed(at: .now()) else {
                        return .connectTimedOut(state.libpq.map { "\($0.currentHost)" } ?? "the server", after: max(.zero, deadline.instant - started))
                    }
                    guard !libpq.hasFailed else { return .connectFailed(libpq) }
                    guard !Task.isCancelled else { return .connectFailed("cancelled", sqlState: nil) }
                    state.continuation = continuation
                    // Until PQconnectPoll says otherwise, libpq waits to write.
                    watch(.writable, libpq, &state)
                    return nil
                }
                if let failedAtOnce { continuation.resume(returning: .failed(failedAtOnce)) }
            }
        } onCancel: {
            finish(.failed(.connectFailed("cancelled", sqlState: nil)))
        }
        loop.cancel(timer)
        loop.cancel(reachTimer)
        return outcome
    }

    private func timedOut(after waited: Duration) -> PostgresError {
        .connectTimedOut(state.withLock { state in state.libpq.map { "\($0.currentHost)" } } ?? "the server", after: waited)
    }

    func ready(_ events: EventLoop.Events) {
        let over = state.withLock { state -> Outcome? in
            guard let libpq = state.libpq, state.continuation != nil else { return nil }
            switch libpq.connectStep() {
            case .reading:
                state.isReached = true
                watch(.readable, libpq, &state)
            case .writing: watch(.writable, libpq, &state)
            case .established: return .established(libpq)
            case .failed: return .failed(.connectFailed(libpq))
            }
            return nil
        }
        if let over { finish(over) }
    }

    private func watch(_ interest: EventLoop.Events, _ libpq: LibpqConnection, _ state: inout State) {
        // libpq may go on to another address, with another socket.
        if state.socket != libpq.socket, state.socket >= 0 { loop.deregister(state.socket, handler: self) }
        state.socket = libpq.socket
        loop.register(libpq.socket, interest, handler: self)
        allot(libpq, &state)
    }

    /// Starts the clock of the host that libpq has just gone on to.
    private func allot(_ libpq: LibpqConnection, _ state: inout State) {
        guard let hosts else { return }
        let current = libpq.currentHost
        guard current != state.current else { return }
        if let timer = state.timer { loop.cancel(timer) }
        state.current = current
        state.timer = shares[hosts.index(of: current)].map { share in
            loop.schedule(at: .now() + share) { [self] in
                finish(.silent(current, after: share)) { $0.current == current }
            }
        }
    }

    private func finish(_ outcome: Outcome, if condition: (State) -> Bool = { _ in true }) {
        let continuation = state.withLock { state -> CheckedContinuation<Outcome, Never>? in
            guard condition(state), let continuation = state.continuation else { return nil }
            if state.socket >= 0 { loop.deregister(state.socket, handler: self) }
            if let timer = state.timer { loop.cancel(timer) }
            state.continuation = nil
            state.libpq = nil
            return continuation
        }
        continuation?.resume(returning: outcome)
    }
}

extension PostgresError {
    fileprivate static func connectFailed(_ libpq: LibpqConnection) -> PostgresError {
        let failure = libpq.connectFailure
        return .connectFailed(failure.text, sqlState: failure.sqlState)
    }
}
