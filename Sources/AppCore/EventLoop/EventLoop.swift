import CLinux
import Glibc
import Synchronization
public import Vitals

/// A few threads that wait in epoll for every libpq and hiredis socket, and run the tasks that prefer them.
///
/// Callers send on their own thread; the thread that watches the socket receives and resumes them. Work started under
/// `withTaskExecutorPreference(loop)` runs here too and then pays no thread switch for a query: it goes on wherever its answer came in.
/// Nothing that blocks or computes for long may run on it: every connection of that thread waits meanwhile.
public final class EventLoop: TaskExecutor {
    /// What a socket is ready for, or what its owner waits for.
    public struct Events: OptionSet, Sendable {
        public let rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }

        public static let readable = Events(rawValue: EPOLLIN.rawValue | EPOLLRDHUP.rawValue)
        public static let writable = Events(rawValue: EPOLLOUT.rawValue)
        /// Reported whether asked for or not: the peer is gone or the socket failed.
        public static let closed = Events(rawValue: EPOLLHUP.rawValue | EPOLLERR.rawValue)
    }

    public struct TimerID: Hashable, Sendable {
        let number: Int
    }

    /// At least one. The first also has the timers, and what is asked for on threads that are not of the loop.
    private let threads: [EventLoopThread]
    /// Which thread watches a socket, by index.
    private let watching = Mutex<[Int32: Int]>([:])

    /// They share the pool's lock. Two were measured (docs/BENCHMARKS.md), more were not.
    private static let mostThreads = 4

    /// Starts the threads; `shutdown()` ends them.
    ///
    /// - Parameter threads: at least 1; as many as this process may use cores when nil, 4 at most.
    /// - Throws: `EventLoopError` when the kernel refuses the descriptors or a thread.
    public init(name: String = "event-loop", threads count: Int? = nil) throws {
        threads = try (0..<max(1, count ?? min(availableCores(), Self.mostThreads))).map { _ in try EventLoopThread() }
        do {
            for thread in threads { try thread.start(name: name, for: self) }
        } catch {
            shutdown()
            throw error
        }
    }

    /// The last instant at which the thread that has been silent for longest began a turn. One that is idle does not turn: see `turn()`.
    public var lastTurned: MonotonicInstant { threads.map(\.lastTurned).min() ?? .now() }

    /// Makes each thread turn though it may have nothing to do: only then does its silence mean something.
    public func turn() {
        for thread in threads { thread.wake() }
    }

    /// Whether the caller runs on one of the loop's threads.
    var isCurrent: Bool { threads.contains { $0.isCurrent } }

    /// Ends each thread after its present turn. Timers not yet due are dropped; tasks that prefer the loop must have ended.
    public func shutdown() {
        for thread in threads { thread.stop() }
    }

    // MARK: Sockets

    /// Calls `handler` whenever `descriptor` is ready, until `deregister` on the same thread: the one that watched fewest. Keeps the handler
    /// until then.
    ///
    /// May be called again for a descriptor that is registered already: libraries close a socket and open another under its number.
    public func register(_ descriptor: Int32, _ interest: Events, handler: any EventHandler) {
        watching.withLock { watching in
            let index = watching[descriptor] ?? leastBusy(watching)
            watching[descriptor] = index
            threads[index].register(descriptor, interest, handler: handler)
        }
    }

    private func leastBusy(_ watching: [Int32: Int]) -> Int {
        var sockets = [Int](repeating: 0, count: threads.count)
        for index in watching.values { sockets[index] += 1 }
        return sockets.indices.min { sockets[$0] < sockets[$1] } ?? 0
    }

    public func update(_ descriptor: Int32, _ interest: Events) {
        watching.withLock { watching in
            if let index = watching[descriptor] { threads[index].update(descriptor, interest) }
        }
    }

    /// Forgets the descriptor, unless another handler has taken its number since: a library may have closed it unasked.
    ///
    /// A handler may still see one event that was already taken from the kernel.
    public func deregister(_ descriptor: Int32, handler: any EventHandler) {
        watching.withLock { watching in
            guard let index = watching[descriptor], threads[index].deregister(descriptor, handler: handler) else { return }
            watching[descriptor] = nil
        }
    }

    // MARK: Timers and turns

    /// Runs `body` on the loop's first thread at the instant or soon after.
    @discardableResult
    public func schedule(at instant: MonotonicInstant, _ body: @escaping @Sendable () -> Void) -> TimerID {
        threads[0].schedule(at: instant, body)
    }

    public func cancel(_ id: TimerID) {
        threads[0].cancel(id)
    }

    /// Runs `body` once, after the jobs of this turn and before sockets are polled again: the place to write what they queued.
    public func atTurnEnd(_ body: @escaping @Sendable () -> Void) {
        here.atTurnEnd(body)
    }

    // MARK: TaskExecutor

    /// What is resumed on one of the threads goes on there.
    public func enqueue(_ job: UnownedJob) {
        here.enqueue(job)
    }

    public func enqueue(_ job: consuming ExecutorJob) {
        enqueue(UnownedJob(job))
    }

    private var here: EventLoopThread { threads.first { $0.isCurrent } ?? threads[0] }
}

/// The owner of a socket that the loop watches.
public protocol EventHandler: AnyObject, Sendable {
    /// Called on one of the loop's threads; must not block.
    func ready(_ events: EventLoop.Events)
}

public struct EventLoopError: Error, CustomStringConvertible {
    public let call: String
    public let errno: Int32

    public var description: String {
        let advice =
            switch errno {
            case EMFILE: "; see the limit of open files (ulimit -n, LimitNOFILE=)"
            case ENFILE: "; the whole system has too many files open"
            case EAGAIN: "; see the limits of threads and memory (ulimit -u, TasksMax=)"
            default: ""
            }
        return "the event loop cannot start: \(call): \(String(cString: strerror(errno)))\(advice)"
    }
}

/// The cores this process may run on, as `CPUAffinity=` or `taskset` left them.
private func availableCores() -> Int {
    var set = cpu_set_t()
    guard sched_getaffinity(0, MemoryLayout<cpu_set_t>.size, &set) == 0 else { return 1 }
    return withUnsafeBytes(of: set) { $0.reduce(0) { $0 + $1.nonzeroBitCount } }
}
