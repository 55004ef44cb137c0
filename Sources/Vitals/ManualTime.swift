import Synchronization

/// A clock that only a test moves. Both kinds of time advance together.
///
/// A test waits until the code under test has gone to sleep, then moves the clock: no test sleeps, none is flaky.
public final class ManualTime: TimeSource {
    private struct Sleeper {
        var wakeAt: MonotonicInstant
        var continuation: CheckedContinuation<Void, any Error>
    }

    private struct Observer {
        var count: Int
        var continuation: CheckedContinuation<Void, Never>
    }

    private struct State {
        var now: MonotonicInstant
        var wall: WallTime
        var nextID = 0
        var sleepers: [Int: Sleeper] = [:]
        var cancelledEarly: Set<Int> = []
        var observers: [Observer] = []

        mutating func takeSatisfiedObservers() -> [CheckedContinuation<Void, Never>] {
            let asleep = sleepers.count
            let satisfied = observers.filter { $0.count <= asleep }
            observers.removeAll { $0.count <= asleep }
            return satisfied.map(\.continuation)
        }
    }

    private let state: Mutex<State>

    public init(
        now: MonotonicInstant = MonotonicInstant(nanoseconds: 1_000_000_000_000),
        wall: WallTime = WallTime(secondsSince1970: 1_800_000_000)
    ) {
        state = Mutex(State(now: now, wall: wall))
    }

    public func now() -> MonotonicInstant { state.withLock { $0.now } }

    public func wallNow() -> WallTime { state.withLock { $0.wall } }

    public func sleep(until instant: MonotonicInstant) async throws {
        let id = state.withLock { state in
            defer { state.nextID += 1 }
            return state.nextID
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                enum Next { case resume, cancel, wait([CheckedContinuation<Void, Never>]) }
                let next = state.withLock { state -> Next in
                    if state.cancelledEarly.remove(id) != nil || Task.isCancelled { return .cancel }
                    if instant <= state.now { return .resume }
                    state.sleepers[id] = Sleeper(wakeAt: instant, continuation: continuation)
                    return .wait(state.takeSatisfiedObservers())
                }
                switch next {
                case .resume: continuation.resume()
                case .cancel: continuation.resume(throwing: CancellationError())
                case .wait(let observers): observers.forEach { $0.resume() }
                }
            }
        } onCancel: {
            let sleeper = state.withLock { state -> Sleeper? in
                if let sleeper = state.sleepers.removeValue(forKey: id) { return sleeper }
                state.cancelledEarly.insert(id)
                return nil
            }
            sleeper?.continuation.resume(throwing: CancellationError())
        }
    }

    /// Returns once at least `count` tasks sleep on this clock.
    public func untilSleeping(_ count: Int = 1) async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let ready = state.withLock { state -> Bool in
                if state.sleepers.count >= count { return true }
                state.observers.append(Observer(count: count, continuation: continuation))
                return false
            }
            if ready { continuation.resume() }
        }
    }

    /// Moves both clocks and wakes, in order of their instants, all whose time has come.
    public func advance(by duration: Duration) {
        let due = state.withLock { state -> [Sleeper] in
            state.now = state.now + duration
            state.wall = state.wall + duration
            let now = state.now
            let due = state.sleepers.filter { $0.value.wakeAt <= now }
            for id in due.keys { state.sleepers[id] = nil }
            return due.sorted { ($0.value.wakeAt, $0.key) < ($1.value.wakeAt, $1.key) }.map(\.value)
        }
        due.forEach { $0.continuation.resume() }
    }

    /// Moves the wall clock alone, as an administrator or NTP would.
    public func jumpWall(by duration: Duration) {
        state.withLock { $0.wall = $0.wall + duration }
    }
}
