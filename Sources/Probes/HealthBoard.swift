import Synchronization
public import Vitals

/// Where samples become verdicts, and verdicts become visible.
///
/// `record` is cheap and may be called from any task. Observers are called outside the lock, one transition after the other in the
/// order in which they happened, on the task of whoever recorded the sample; they must not block.
public final class HealthBoard: Sendable {
    public typealias Observer = @Sendable (Transition) -> Void

    private struct Guarded {
        var board: BoardState
        var observers: [Observer] = []
        var undelivered: [Transition] = []
        var delivering = false
    }

    private let guarded: Mutex<Guarded>
    private let evidence: [ComponentID: @Sendable () -> Evidence]
    private let time: any TimeSource
    private let evaluation = Histogram()

    /// How often staleness is looked for.
    static let tickInterval = Duration.milliseconds(250)

    /// - Parameter evidence: who holds what, per component; asked at the moment of a transition.
    public init(rules: [Rule], evidence: [ComponentID: @Sendable () -> Evidence] = [:], time: any TimeSource) {
        guarded = Mutex(Guarded(board: BoardState(rules: rules, now: time.now(), wall: time.wallNow())))
        self.evidence = evidence
        self.time = time
    }

    /// Adds an observer of all transitions from now on.
    public func observe(_ observer: @escaping Observer) {
        guarded.withLock { $0.observers.append(observer) }
    }

    public func record(_ sample: Sample) {
        evaluate(sample, now: time.now())
    }

    /// Looks for rules that have gone without samples for too long.
    public func tick(now: MonotonicInstant) {
        evaluate(nil, now: now)
    }

    /// Ticks until cancelled.
    public func run() async {
        while (try? await time.sleep(for: Self.tickInterval)) != nil {
            tick(now: time.now())
        }
    }

    /// Puts new thresholds in force; a rule of the same name keeps its state and its samples, and is judged anew by them.
    public func replace(rules: [Rule]) {
        let now = time.now()
        let wall = time.wallNow()
        guarded.withLock { $0.board.replace(rules: rules, now: now, wall: wall) }
        evaluate(nil, now: now)
    }

    public var rules: [Rule] { guarded.withLock { $0.board.tracked.map(\.rule) } }

    public func snapshot() -> BoardSnapshot {
        let now = time.now()
        let wall = time.wallNow()
        let evaluation = evaluation.snapshot()
        return guarded.withLock { $0.board.snapshot(now: now, wall: wall, evaluation: evaluation) }
    }

    private func evaluate(_ sample: Sample?, now: MonotonicInstant) {
        let began = time.now()
        let wall = time.wallNow()
        let mine = guarded.withLock { guarded -> Bool in
            let transitions = guarded.board.evaluate(sample, now: now, wall: wall)
            guarded.undelivered += transitions
            // One caller at a time delivers, so that observers see the order of the lock.
            guard !guarded.undelivered.isEmpty, !guarded.delivering else { return false }
            guarded.delivering = true
            return true
        }
        evaluation.record(time.now() - began)
        if mine { deliver() }
    }

    private func deliver() {
        while true {
            let (transitions, observers) = guarded.withLock { guarded -> ([Transition], [Observer]) in
                defer { guarded.undelivered = [] }
                if guarded.undelivered.isEmpty { guarded.delivering = false }
                return (guarded.undelivered, guarded.observers)
            }
            if transitions.isEmpty { return }
            for var transition in transitions {
                transition.evidence = evidence[transition.component]?()
                attach(transition)
                observers.forEach { $0(transition) }
            }
        }
    }

    private func attach(_ transition: Transition) {
        guard transition.evidence != nil else { return }
        guarded.withLock { guarded in
            guard let index = guarded.board.history.lastIndex(where: { $0.number == transition.number }) else { return }
            guarded.board.history[index] = transition
        }
    }
}
