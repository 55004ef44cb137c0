import Probes
import Synchronization
import Vitals

/// What each probe found last, the outcome of each component's last looks, and how many samples there have been.
///
/// Fed by the runners, beside the board.
final class RecentSamples: Sendable {
    private struct State {
        var count = 0
        var outcomes: [ComponentID: [ProbeOutcome]] = [:]
        var found: [ProbeID: Sample] = [:]
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
            if sample.measurement != nil { state.found[sample.probe] = sample }
        }
    }

    /// Samples since the start: the generation of everything derived from samples.
    var count: Int { state.withLock { $0.count } }

    /// Oldest first.
    var outcomes: [ComponentID: [ProbeOutcome]] { state.withLock { $0.outcomes } }

    /// What the probe found last; nil once that is older than three of its intervals: a stale number is no number.
    func measurement(of probe: ProbeID, at now: MonotonicInstant) -> Measurement? {
        guard let sample = state.withLock({ $0.found[probe] }), now - sample.at <= sample.interval * 3 else { return nil }
        return sample.measurement
    }
}
