import AppCore
import Dispatch
import Glibc
import Synchronization
import Vitals

/// What is to go out, in order and bounded: how is the queue's own decision.
protocol OutletQueue: Sendable {
    associatedtype Item: Sendable

    var isEmpty: Bool { get }

    /// Takes out what is next.
    mutating func next(now: MonotonicInstant) -> Item?
}

/// A queue that nobody waits at, and a thread of its own that sends what is in it, however long the other side takes.
///
/// The log and the notices to systemd go out through one each: both readers may stop reading, and the one that still reads is to be
/// served. The thread is made when there is something to send.
final class Outlet<Queue: OutletQueue>: Sendable {
    private let thread: OutletThread<Queue>

    /// - Parameters:
    ///   - name: of the thread, as `ps` shows it.
    ///   - send: may block; called by one thread, for one item after the other.
    init(_ queue: Queue, name: String, time: any TimeSource, send: @escaping @Sendable (Queue.Item) -> Void) {
        thread = OutletThread(queue, name: name, time: time, send: send)
    }

    deinit { thread.end() }

    /// Changes the queue, and wakes the thread if there is something in it now.
    func change<R: Sendable>(_ body: (inout Queue) -> R) -> R { thread.change(body) }

    /// Waits until everything is out, at most for `limit` of real time.
    ///
    /// - Returns: whether everything is.
    @discardableResult
    func flush(within limit: Duration) -> Bool { thread.flush(within: limit) }
}

/// Apart from the outlet, so that the thread does not keep that alive.
private final class OutletThread<Queue: OutletQueue>: Sendable {
    private struct State {
        var queue: Queue
        var hasThread = false
        var isSending = false
        /// The thread waits for `work`, once for each signal.
        var isWaiting = false
        var isEnded = false
        /// One for each flush that waits.
        var flushing: [Latch] = []
    }

    private enum Step {
        case send(Queue.Item)
        case wait(flushed: [Latch])
        case end
    }

    private let name: String
    private let time: any TimeSource
    private let send: @Sendable (Queue.Item) -> Void
    private let state: Mutex<State>
    private let work = DispatchSemaphore(value: 0)

    init(_ queue: Queue, name: String, time: any TimeSource, send: @escaping @Sendable (Queue.Item) -> Void) {
        self.name = name
        self.time = time
        self.send = send
        state = Mutex(State(queue: queue))
    }

    func change<R: Sendable>(_ body: (inout Queue) -> R) -> R {
        let (result, mustWake, mustStart) = state.withLock { state in
            let result = body(&state.queue)
            let isNeeded = !state.queue.isEmpty
            let mustWake = isNeeded && state.isWaiting
            if mustWake { state.isWaiting = false }
            let mustStart = isNeeded && !state.hasThread
            if mustStart { state.hasThread = true }
            return (result, mustWake, mustStart)
        }
        if mustWake { work.signal() }
        if mustStart {
            do {
                try DetachedThread.start(name: name) { self.run() }
            } catch {
                // No room for a thread: the next change tries again, and the queue's bound holds meanwhile.
                state.withLock { $0.hasThread = false }
            }
        }
        return result
    }

    func flush(within limit: Duration) -> Bool {
        let drained = Latch()
        let isPending = state.withLock { state in
            let isPending = state.isSending || !state.queue.isEmpty
            if isPending { state.flushing.append(drained) }
            return isPending
        }
        guard isPending, !drained.wait(within: limit) else { return true }
        // One that is not among them any more was drained at the last moment.
        return state.withLock { state in
            guard let index = state.flushing.firstIndex(where: { $0 === drained }) else { return true }
            state.flushing.remove(at: index)
            return false
        }
    }

    func end() {
        let isWaiting = state.withLock { state in
            state.isEnded = true
            defer { state.isWaiting = false }
            return state.isWaiting
        }
        if isWaiting { work.signal() }
    }

    private func run() {
        // A reader that is gone is an error of the write, not the end of this process.
        var pipe = sigset_t()
        sigemptyset(&pipe)
        sigaddset(&pipe, SIGPIPE)
        pthread_sigmask(SIG_BLOCK, &pipe, nil)
        while true {
            switch next() {
            case .send(let item): send(item)
            case .wait(let flushed):
                for drained in flushed { drained.open() }
                work.wait()
            case .end: return
            }
        }
    }

    private func next() -> Step {
        let now = time.now()
        return state.withLock { state in
            if let item = state.queue.next(now: now) {
                state.isSending = true
                return .send(item)
            }
            state.isSending = false
            if state.isEnded { return .end }
            state.isWaiting = true
            defer { state.flushing = [] }
            return .wait(flushed: state.flushing)
        }
    }
}
