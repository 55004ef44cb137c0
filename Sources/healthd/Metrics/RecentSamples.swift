import Probes
import Synchronization

/// The outcome of each component's last looks, and how many samples there have been: fed by the runners beside the board.
final class RecentSamples: Sendable {
    private struct State {
        var count = 0
        var outcomes: [ComponentID: [ProbeOutcome]] = [:]
    }

    /// Looks kept for each component: what fits a table row.
    static let limit = 24

    private let state = Mutex(State())

    init() {}

    func record(_ sample: Sample) {
        state.withLock { state in
            state.count += 1
            var outcomes = state.outcomes[sample.component] ?? []
            if outcomes.count == Self.limit { outcomes.removeFirst() }
            outcomes.append(sample.outcome)
            state.outcomes[sample.component] = outcomes
        }
    }

    /// Samples since the start: the generation of everything derived from samples.
    var count: Int { state.withLock { $0.count } }

    /// Oldest first.
    func outcomes(of component: ComponentID) -> [ProbeOutcome] { state.withLock { $0.outcomes[component] ?? [] } }
}
