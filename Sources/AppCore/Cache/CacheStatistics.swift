import Synchronization
public import Vitals

/// What the cache has done, at one moment. Counts are since the start.
public struct CacheStatistics: Sendable {
    public enum Tier: String, Sendable, Hashable, CaseIterable {
        case memory, redis
    }

    /// What is asked of Redis.
    public enum Operation: String, Sendable, Hashable, CaseIterable {
        case get, set, delete
    }

    /// Why a lookup did without Redis.
    public enum Fallback: String, Sendable, Hashable, CaseIterable {
        /// There is no connection, or it broke.
        case down
        /// It did not answer in time, or too many commands wait for its answer already.
        case slow
        /// It failed a moment ago and is not asked for a while, or it refuses the operation.
        case open
        /// What it has may be older than a write it did not get.
        case suspect

        init(_ error: RedisError) {
            self =
                switch error {
                case .timeout, .tooManyPending: .slow
                case .refused: .open
                case .down, .connectionLost, .cancelled: .down
                }
        }
    }

    public var hits: [Tier: Int]
    /// Lookups that found no fresh value in any tier. One that was answered with an expired value in the second after a failed load does not
    /// count: it says something of the database, and nothing of the cache.
    public var misses: Int
    /// Lookups that joined the flight of another caller.
    public var coalesced: Int
    var loads: Int
    public var loadFailures: Int
    /// Loads begun before the value expired, so that nobody had to wait.
    var refreshes: Int
    /// Loads a caller made for itself, because the cache had no room or did not run.
    var ownLoads: Int
    /// Lookups answered with an expired value, because a load failed or did not end in time.
    public var stale: Int
    public var fallbacks: [Fallback: Int]
    /// Redis operations that failed.
    public var errors: [Operation: Int]
    /// Redis operations that succeeded, by how long they took.
    public var operations: [Operation: HistogramSnapshot]
    public var loadTime: HistogramSnapshot
    public var memoryBytes: Int
    public var memoryLimit: Int
    public var memoryEntries: Int
    public var evictions: Int
    /// Nil without a Redis.
    public var redisBypassed: Bool?
    /// Keys whose value in Redis is not believed.
    var suspectKeys: Int

    /// Share of lookups that a tier answered; nil before the first lookup.
    public var hitRatio: Double? {
        let found = hits.values.reduce(0, +)
        return found + misses > 0 ? Double(found) / Double(found + misses) : nil
    }
}

final class CacheMeters: Sendable {
    let hits = LabelledCounter(known: CacheStatistics.Tier.allCases)
    let misses = Counter()
    let coalesced = Counter()
    let loads = Counter()
    let loadFailures = Counter()
    let refreshes = Counter()
    let ownLoads = Counter()
    let stale = Counter()
    let fallbacks = LabelledCounter(known: CacheStatistics.Fallback.allCases)
    let errors = LabelledCounter(known: CacheStatistics.Operation.allCases)
    let operations = Dictionary(uniqueKeysWithValues: CacheStatistics.Operation.allCases.map { ($0, Histogram()) })
    let loadTime = Histogram()
}
