import AppCore
import Probes
import Synchronization
import Vitals

/// How much of what the application asked for the cache had, over the last minute.
enum CacheWatch {
    /// Fewer lookups than this make no ratio worth judging.
    static let fewest = 20
    static let window = Duration.seconds(60)

    static func probe(_ cache: TieredCache, interval: Duration, timeout: Duration, time: any TimeSource) -> Probe {
        let recent = RecentLookups()
        return Probe(id: "cache", component: "cache", interval: interval, timeout: timeout) {
            let statistics = cache.statistics()
            let found = recent.add(
                LookupCount(hits: statistics.hits.values.reduce(0, +), misses: statistics.misses), at: time.now(), over: window)
            var values = ["lookups": Double(found.total)]
            if found.total >= fewest { values["hit-ratio"] = Double(found.hits) / Double(found.total) }
            return Measurement(values: values, summary: "\(found.hits) of \(found.total) lookups in the last minute")
        }
    }

    struct LookupCount: Sendable {
        var hits: Int
        var misses: Int
        var total: Int { hits + misses }
    }

    private final class RecentLookups: Sendable {
        private let marks = Mutex<[(at: MonotonicInstant, count: LookupCount)]>([])

        /// What came since the oldest mark that is younger than the window, or since the newest: looks may be further apart than that.
        func add(_ count: LookupCount, at now: MonotonicInstant, over window: Duration) -> LookupCount {
            marks.withLock { marks in
                while marks.count > 1, now - marks[0].at > window { marks.removeFirst() }
                let oldest = marks.first?.count ?? LookupCount(hits: 0, misses: 0)
                marks.append((now, count))
                return LookupCount(hits: count.hits - oldest.hits, misses: count.misses - oldest.misses)
            }
        }
    }
}
