public import Vitals

/// Whether a dependency is asked at all: closed while it answers, open for a while when it did not, then tried by one.
///
/// Pure: every transition is given `now`. The open time doubles from `pause` to `cap` while trials fail, and starts over when one succeeds.
public struct Breaker: Sendable, Hashable {
    public enum State: Sendable, Hashable {
        /// Asked. Leads to open when `tolerance` failures come one after another.
        case closed(failures: Int)
        /// Not asked. Leads to trial when the instant has come.
        case open(until: MonotonicInstant, pause: Duration)
        /// One caller asks; the others do not. Leads to closed or back to open.
        case trial(pause: Duration)
    }

    /// What a recorded result changed; each is worth one line of the log.
    public enum Transition: Sendable, Hashable {
        case opened
        case closed
    }

    public private(set) var state = State.closed(failures: 0)
    private let tolerance: Int
    private let pause: Duration
    private let cap: Duration

    /// - Parameter tolerance: failures in a row that open it. One is right where a failure has already cost a whole deadline.
    public init(tolerance: Int = 1, pause: Duration = .milliseconds(500), cap: Duration = .seconds(2)) {
        precondition(tolerance >= 1 && pause > .zero && cap >= pause, "a breaker needs a tolerance and 0 < pause <= cap")
        self.tolerance = tolerance
        self.pause = pause
        self.cap = cap
    }

    public var isClosed: Bool { if case .closed = state { true } else { false } }

    /// May the dependency be asked now? Beginning a trial is an answer of yes to one caller.
    public mutating func admits(at now: MonotonicInstant) -> Bool {
        switch state {
        case .closed: return true
        case .trial: return false
        case .open(let until, let pause):
            guard until <= now else { return false }
            state = .trial(pause: pause)
            return true
        }
    }

    public mutating func succeeded() -> Transition? {
        defer { state = .closed(failures: 0) }
        // A reply that was on its way when the breaker opened proves nothing about now, but does no harm either.
        return isClosed ? nil : .closed
    }

    public mutating func failed(at now: MonotonicInstant) -> Transition? {
        switch state {
        case .closed(let failures) where failures + 1 < tolerance:
            state = .closed(failures: failures + 1)
            return nil
        case .closed:
            state = .open(until: now + pause, pause: pause)
            return .opened
        case .trial(let last):
            let next = min(last * 2, cap)
            state = .open(until: now + next, pause: next)
            return nil
        case .open:
            return nil
        }
    }

    /// The caller of the trial went away without an answer: another may try.
    public mutating func abandoned(at now: MonotonicInstant) {
        if case .trial(let pause) = state { state = .open(until: now, pause: pause) }
    }
}
