import CLinux
import Glibc
import HeapModule
import Synchronization
import Vitals

/// One thread of the loop: its sockets, its jobs, and the first one's timers.
///
/// A turn: jobs, what they left for the turn's end, then epoll, what has become ready, and timers that are due. So a timer comes after the
/// answer that its own thread could have read, but not after that of another: whoever gives up looks at the socket first.
final class EventLoopThread: Sendable {
    typealias Events = EventLoop.Events
    typealias TimerID = EventLoop.TimerID

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
        /// Nothing is kept any more: nobody would call it.
        var isOver = false
    }

    private let state = Mutex(State())
    private let epoll: Int32
    private let wakeup: Int32
    private let thread = Atomic<UInt>(0)
    private let lastTurn = Atomic<Int64>(MonotonicInstant.now().nanoseconds)

    /// Rounds of jobs run before sockets are polled again, so that a chain of jobs cannot starve the input.
    private static let roundsPerTurn = 16

    init() throws {
        let epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard epoll >= 0 else { throw EventLoopError(call: "epoll_create1", errno: errno) }
        let wakeup = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
        guard wakeup >= 0 else {
            let problem = EventLoopError(call: "eventfd", errno: errno)
            close(epoll)
            throw problem
        }
        (self.epoll, self.wakeup) = (epoll, wakeup)
        var event = epoll_event(events: EPOLLIN.rawValue, data: epoll_data_t(fd: wakeup))
        epoll_ctl(epoll, EPOLL_CTL_ADD, wakeup, &event)
    }

    deinit {
        close(epoll)
        close(wakeup)
    }

    /// The thread keeps the loop alive until it is stopped.
    func start(name: String, for loop: EventLoop) throws {
        try DetachedThread.start(name: name) { [self] in
            run(loop.asUnownedTaskExecutor())
            withExtendedLifetime(loop) {}
        }
    }

    var lastTurned: MonotonicInstant { MonotonicInstant(nanoseconds: lastTurn.load(ordering: .relaxed)) }

    var isCurrent: Bool { thread.load(ordering: .relaxed) == UInt(pthread_self()) }

    func wake() {
        change { _ in }
    }

    func stop() {
        change { $0.stopping = true }
    }

    // MARK: Sockets

    func register(_ descriptor: Int32, _ interest: Events, handler: any EventHandler) {
        let isKept = state.withLock { state in
            if !state.isOver { state.handlers[descriptor] = handler }
            return !state.isOver
        }
        guard isKept else { return }
        var event = epoll_event(events: interest.rawValue, data: epoll_data_t(fd: descriptor))
        if epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) != 0 && errno == EEXIST {
            epoll_ctl(epoll, EPOLL_CTL_MOD, descriptor, &event)
        }
    }

    func update(_ descriptor: Int32, _ interest: Events) {
        var event = epoll_event(events: interest.rawValue, data: epoll_data_t(fd: descriptor))
        epoll_ctl(epoll, EPOLL_CTL_MOD, descriptor, &event)
    }

    /// - Returns: false when another handler has taken the number.
    func deregister(_ descriptor: Int32, handler: any EventHandler) -> Bool {
        state.withLock { state in
            guard state.handlers[descriptor] === handler else { return false }
            state.handlers[descriptor] = nil
            var event = epoll_event()
            epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, &event)
            return true
        }
    }

    // MARK: Timers, turns and jobs

    func schedule(at instant: MonotonicInstant, _ body: @escaping @Sendable () -> Void) -> TimerID {
        change { state in
            let id = TimerID(number: state.nextTimer)
            state.nextTimer += 1
            guard !state.isOver else { return id }
            state.timerBodies[id] = body
            state.timers.insert(Timer(instant: instant, id: id))
            return id
        }
    }

    func cancel(_ id: TimerID) {
        state.withLock { _ = $0.timerBodies.removeValue(forKey: id) }
    }

    func atTurnEnd(_ body: @escaping @Sendable () -> Void) {
        change { state in
            if !state.isOver { state.turnEndActions.append(body) }
        }
    }

    func enqueue(_ job: UnownedJob) {
        change { $0.jobs.append(job) }
    }

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

    // MARK: The thread

    private func run(_ executor: UnownedTaskExecutor) {
        thread.store(UInt(pthread_self()), ordering: .relaxed)
        var ready = [epoll_event](repeating: epoll_event(), count: 128)
        var jobs: [UnownedJob] = []
        while true {
            lastTurn.store(MonotonicInstant.now().nanoseconds, ordering: .relaxed)
            runJobs(&jobs, on: executor)
            guard let timeout = prepareToSleep() else { break }
            let count = epoll_wait(epoll, &ready, Int32(ready.count), timeout)
            state.withLock { $0.sleeping = false }
            for index in 0..<max(0, Int(count)) { dispatch(ready[index]) }
            fireTimers()
        }
        // Its number may soon be that of another thread.
        thread.store(0, ordering: .relaxed)
        forget()
    }

    private func runJobs(_ jobs: inout [UnownedJob], on executor: UnownedTaskExecutor) {
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

    /// Milliseconds to wait, -1 for ever; nil when the thread is to end.
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

    /// Whoever is still registered, has a timer or something for a turn's end may hold the loop, and would be held by it for ever.
    private func forget() {
        // Let go of outside the lock: what ends may deregister itself.
        let rest = state.withLock { state in
            defer {
                state.isOver = true
                (state.handlers, state.timerBodies, state.turnEndActions) = ([:], [:], [])
            }
            return (state.handlers, state.timerBodies, state.turnEndActions)
        }
        withExtendedLifetime(rest) {}
    }
}
