import AppCore
import Probes
import Synchronization
import Vitals

/// How long the application's statements took since the last look.
enum QueryWatch {
    /// Fewer statements than this make no percentile worth judging.
    static let fewest = 20

    static func probe(_ pool: PoolReading, interval: Duration, timeout: Duration) -> Probe {
        let before = Previous()
        return Probe(id: "queries", component: "queries", interval: interval, timeout: timeout) {
            let recent = before.exchange(for: merged(pool.current()))
            var values = ["count": Double(recent.count)]
            if recent.count >= fewest {
                values["p50"] = recent.quantile(0.5)
                values["p95"] = recent.quantile(0.95)
                values["p99"] = recent.quantile(0.99)
            }
            return Measurement(values: values, summary: "\(recent.count) statements")
        }
    }

    /// All kinds of statements, those that ran into their deadline with them; cancelled ones say nothing about the database.
    private static func merged(_ statistics: PoolStatistics) -> HistogramSnapshot {
        let kinds = statistics.query.filter { $0.key.outcome != .cancelled && $0.key.operation != .transaction }
        let empty = HistogramSnapshot(
            bounds: Histogram.latencyBounds, counts: Array(repeating: 0, count: Histogram.latencyBounds.count + 1), sum: 0)
        return kinds.values.reduce(into: empty) { sum, part in
            for index in sum.counts.indices { sum.counts[index] += part.counts[index] }
            sum.sum += part.sum
        }
    }

    private final class Previous: Sendable {
        private let snapshot = Mutex<HistogramSnapshot?>(nil)

        func exchange(for current: HistogramSnapshot) -> HistogramSnapshot {
            snapshot.withLock { held in
                defer { held = current }
                return held.map { current.since($0) } ?? current
            }
        }
    }
}
