import Synchronization
import Vitals

/// How long healthd's own answers take, by route and class of status, how many are being made, and on which rung reads were answered.
///
/// Bounded: names of routes are ours, and there are five classes, one status and four rungs.
final class HTTPStatistics: Sendable {
    struct Key: Hashable, Sendable {
        /// The route's name, `task_create`; `unknown` for what no route serves.
        var handler: String
        /// `2xx`, and `499` apart: the client left before its request was whole.
        var code: String
    }

    struct RungKey: Hashable, Sendable {
        var handler: String
        var rung: Rung
    }

    struct Snapshot: Sendable {
        var durations: [Key: HistogramSnapshot] = [:]
        var inFlight: [String: Int] = [:]
        var rungs: [RungKey: Int] = [:]
    }

    private struct State {
        var durations: [Key: Histogram] = [:]
        var inFlight: [String: Int] = [:]
        var rungs: [RungKey: Int] = [:]
    }

    private let state = Mutex(State())

    init() {}

    func began(_ handler: String) {
        state.withLock { $0.inFlight[handler, default: 0] += 1 }
    }

    /// - Parameter status: of the answer.
    func ended(_ handler: String, status: Int, after duration: Duration) {
        let key = Key(handler: handler, code: status == 499 ? "499" : "\(status / 100)xx")
        let histogram = state.withLock { state -> Histogram in
            state.inFlight[handler, default: 1] -= 1
            if let known = state.durations[key] { return known }
            let new = Histogram()
            state.durations[key] = new
            return new
        }
        histogram.record(duration)
    }

    /// All rungs of a route are counted from its first answer on, so that a rate exists before the first bad one.
    func answered(_ handler: String, on rung: Rung) {
        state.withLock { state in
            for known in Rung.allCases { state.rungs[RungKey(handler: handler, rung: known), default: 0] += known == rung ? 1 : 0 }
        }
    }

    func snapshot() -> Snapshot {
        let (durations, inFlight, rungs) = state.withLock { ($0.durations, $0.inFlight, $0.rungs) }
        return Snapshot(durations: durations.mapValues { $0.snapshot() }, inFlight: inFlight, rungs: rungs)
    }
}
