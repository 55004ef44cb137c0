import Synchronization
import Vitals

/// How long healthd's own answers take, by route and class of status, and how many are being made.
///
/// Bounded: names of routes are ours, and there are five classes.
final class HTTPStatistics: Sendable {
    struct Key: Hashable, Sendable {
        /// The route's name, `task_create`; `unknown` for what no route serves.
        var handler: String
        /// `2xx`
        var code: String
    }

    struct Snapshot: Sendable {
        var durations: [Key: HistogramSnapshot] = [:]
        var inFlight: [String: Int] = [:]
    }

    private struct State {
        var durations: [Key: Histogram] = [:]
        var inFlight: [String: Int] = [:]
    }

    private let state = Mutex(State())

    init() {}

    func began(_ handler: String) {
        state.withLock { $0.inFlight[handler, default: 0] += 1 }
    }

    /// - Parameter status: of the answer.
    func ended(_ handler: String, status: Int, after duration: Duration) {
        let key = Key(handler: handler, code: "\(status / 100)xx")
        let histogram = state.withLock { state -> Histogram in
            state.inFlight[handler, default: 1] -= 1
            if let known = state.durations[key] { return known }
            let new = Histogram()
            state.durations[key] = new
            return new
        }
        histogram.record(duration)
    }

    func snapshot() -> Snapshot {
        let (durations, inFlight) = state.withLock { ($0.durations, $0.inFlight) }
        return Snapshot(durations: durations.mapValues { $0.snapshot() }, inFlight: inFlight)
    }
}
