import CLinux
import Glibc
import HeapModule
import Synchronization
public import Vitals

/// One thread that waits in epoll for every libpq and hiredis socket, and runs the tasks that prefer it.
///
/// Callers send on their own thread; the loop receives and resumes them. Work started under
/// `withTaskExecutorPreference(loop)` runs here too and then pays no thread switch for a query.
/// Nothing that blocks or computes for long may run on it: every connection waits meanwhile.
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
        fileprivate let number: Int
    }

    private struct Timer: Comparable {
        var instant: MonotonicInstant
        var id: TimerID

        static func < (left: Self, right: Self) -> Bool {
            (left.instant, left.id.number) < (right.instant, right.id.number)
        }
    }

    private struct State {
        var jobs: [UnownedJob] = []
        var turnEndActions: [@Sendable () -> Void] = []
        var timers = Heap<Timer>()
        /// A cancelled timer leaves this table at once and the heap when its time comes.
        var timerBodies: [TimerID: @Sendable () -> Void] = [:]
        var nextTimer = 0
        var handlers: [Int32: any EventHandler] = [:]
        /// True from just before epoll_wait until after it: only then is the eventfd worth a write.
        var sleeping = false
        var stopping = false
    }

    private let state = Mutex(State())
    private let epoll: Int32
    private let wakeup: Int32
    private let thread = Atomic<UInt>(0)
    private let lastTurn = Atomic<Int64>(MonotonicInstant.now().nanoseconds)

    /// Rounds of jobs run before sockets are polled again, so that a chain of jobs cannot starve the input.
    private static let roundsPerTurn = 16

    /// Starts the thread; `shutdown()` ends it.
    ///
    /// - Throws: `EventLoopError` when the kernel refuses the descriptors or the thread.
    public init(name: String = "event-loop") throws {
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard epoll >= 0 else { throw EventLoopError(call: "epoll_create1", errno: errno) }
        wakeup = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
        guard wakeup >= 0 else { throw EventLoopError(call: "eventfd", errno: errno) }
        var event = epoll_event(events: EPOLLIN.rawValue, data: epoll_data_t(fd: wakeup))
        epoll_ctl(epoll, EPOLL_CTL_ADD, wakeup, &event)

        do {
            // The thread keeps the loop alive until shutdown.
            try DetachedThread.start(name: name) { [self] in run() }
        } catch {
            close(epoll)
            close(wakeup)
            throw error
        }
    }

    /// The last instant at which the loop began a turn. An idle loop does not turn: schedule a timer to see it alive.
    public var lastTurned: MonotonicInstant {
        MonotonicInstant(nanoseconds: lastTurn.load(ordering: .relaxed))
    }

    /// Whether the caller runs on the loop's thread.
    var isCurrent: Bool { thread.load(ordering: .relaxed) == UInt(pthread_self()) }

    /// Ends the thread after its present turn. Timers not yet due are dropped; tasks that prefer the loop must have ended.
    public func shutdown() {
        change { $0.stopping = true }
    }

    // MARK: Sockets

    /// Calls `handler` on the loop's thread whenever `descriptor` is ready. The handler is kept until `deregister`.
    ///
    /// May be called again for a descriptor that is registered already: libraries close a socket and open another under its number.
    public func register(_ descriptor: Int32, _ interest: Events, handler: any EventHandler) {
        state.withLock { $0.handlers[descriptor] = handler }
        var event = epoll_event(events: interest.rawValue, data: epoll_data_t(fd: descriptor))
        if epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) != 0 && errno == EEXIST {
            epoll_ctl(epoll, EPOLL_CTL_MOD, descriptor, &event)
        }
    }

    public func update(_ descriptor: Int32, _ interest: Events) {
        var event = epoll_event(events: interest.rawValue, data: epoll_data_t(fd: descriptor))
        epoll_ctl(epoll, EPOLL_CTL_MOD, descriptor, &event)
    }

    /// Forgets the descriptor, unless another handler has taken its number since: a library may have closed it unasked.
    ///
    /// A handler may still see one event that was already taken from the kernel.
    public func deregister(_ descriptor: Int32, handler: any EventHandler) {
        state.withLock { state in
            guard state.handlers[descriptor] === handler else { return }
            state.handlers[descriptor] = nil
            var event = epoll_event()
            epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, &event)
        }
    }

    // MARK: Timers and turns

    /// Runs `body` on the loop's thread at the instant or soon after.
    @discardableResult
    public func schedule(at instant: MonotonicInstant, _ body: @escaping @Sendable () -> Void) -> TimerID {
        change { state in
            let id = TimerID(number: state.nextTimer)
            state.nextTimer += 1
            state.timerBodies[id] = body
            state.timers.insert(Timer(instant: instant, id: id))
            return id
        }
    }

    public func cancel(_ id: TimerID) {
        state.withLock { _ = $0.timerBodies.removeValue(forKey: id) }
    }

    /// Runs `body` once, after the jobs of this turn and before sockets are polled again: the place to write what they queued.
    public func atTurnEnd(_ body: @escaping @Sendable () -> Void) {
        change { $0.turnEndActions.append(body) }
    }

    // MARK: TaskExecutor

    public func enqueue(_ job: UnownedJob) {
        change { $0.jobs.append(job) }
    }

    public func enqueue(_ job: consuming ExecutorJob) {
        enqueue(UnownedJob(job))
    }

    // MARK: The thread

    private func change<Result: Sendable>(_ body: (inout State) -> Result) -> Result {
        let (result, mustWake) = state.withLock { state in
            let result = body(&state)
            defer { state.sleeping = false }
            return (result, state.sleeping)
        }
        if mustWake {
            var one: UInt64 = 1
            write(wakeup, &one, 8)
        }
        return result
    }

    private func run() {
        thread.store(UInt(pthread_self()), ordering: .relaxed)
        var ready = [epoll_event](repeating: epoll_event(), count: 128)
        var jobs: [UnownedJob] = []
        while true {
            lastTurn.store(MonotonicInstant.now().nanoseconds, ordering: .relaxed)
            runJobs(&jobs)
            guard let timeout = prepareToSleep() else { break }
            let count = epoll_wait(epoll, &ready, Int32(ready.count), timeout)
            state.withLock { $0.sleeping = false }
            for index in 0..<max(0, Int(count)) { dispatch(ready[index]) }
            fireTimers()
        }
        close(epoll)
        close(wakeup)
    }

    private func runJobs(_ jobs: inout [UnownedJob]) {
        let executor = asUnownedTaskExecutor()
        for _ in 0..<Self.roundsPerTurn {
            state.withLock { swap(&$0.jobs, &jobs) }
            guard !jobs.isEmpty else { break }
            for job in jobs { job.runSynchronously(on: executor) }
            jobs.removeAll(keepingCapacity: true)
        }
        let actions = state.withLock { state -> [@Sendable () -> Void] in
            defer { state.turnEndActions.removeAll(keepingCapacity: true) }
            return state.turnEndActions
        }
        for action in actions { action() }
    }

    /// Milliseconds to wait, -1 for ever; nil when the loop is to end.
    private func prepareToSleep() -> Int32? {
        state.withLock { state in
            if state.stopping { return nil }
            guard state.jobs.isEmpty, state.turnEndActions.isEmpty else { return 0 }
            while let next = state.timers.min, state.timerBodies[next.id] == nil { state.timers.removeMin() }
            state.sleeping = true
            guard let next = state.timers.min else { return -1 }
            let remaining = (next.instant - .now()).nanoseconds
            // Rounded up: waking a moment early would only spin.
            return remaining <= 0 ? 0 : Int32(min((remaining + 999_999) / 1_000_000, 60_000))
        }
    }

    private func dispatch(_ event: epoll_event) {
        let descriptor = event.data.fd
        if descriptor == wakeup {
            var count: UInt64 = 0
            read(wakeup, &count, 8)
            return
        }
        state.withLock { $0.handlers[descriptor] }?.ready(Events(rawValue: event.events))
    }

    private func fireTimers() {
        while true {
            let body = state.withLock { state -> (@Sendable () -> Void)?? in
                guard let next = state.timers.min, next.instant <= .now() else { return nil }
                state.timers.removeMin()
                return .some(state.timerBodies.removeValue(forKey: next.id))
            }
            guard let body else { return }
            body?()
        }
    }
}

/// The owner of a socket that the loop watches.
public protocol EventHandler: AnyObject, Sendable {
    /// Called on the loop's thread; must not block.
    func ready(_ events: EventLoop.Events)
}

public struct EventLoopError: Error, CustomStringConvertible {
    public let call: String
    public let errno: Int32

    public var description: String { "event loop: \(call) failed: \(String(cString: strerror(errno)))" }
}
