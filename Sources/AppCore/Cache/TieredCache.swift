public import Logging
import Synchronization
public import Vitals

/// Values by key: from memory, else from Redis, else loaded once for all who want it.
///
/// A caller never gets a version older than one it could have got before, whichever way the value came. There are two exceptions: the database has
/// gone back in time; or memory has let the newer value go, and only a standby that lags can be asked. A value is as old as the load it comes from.
/// While loads fail, an expired value is answered with its age. A Redis that is dead or frozen costs one deadline and then nothing.
public final class TieredCache: Sendable {
    struct State {
        var memory: MemoryTier
        var flights = CacheFlights()
        var barriers = CacheBarriers()
        /// Loads that callers make for themselves.
        var ownLoads = 0
        /// How many copies of a key are on their way to Redis.
        var shares: [String: Int] = [:]
        var isRunning = false

        /// Whether Redis's value for `key` may be used: the key is not in doubt, and no floor has been lost.
        func believesRedis(of key: String, at now: MonotonicInstant) -> Bool {
            !barriers.isInDoubt(key, at: now) && (memory.floorsLostUntil.map { $0 <= now } ?? true)
        }
    }

    typealias Job = @Sendable () async -> Void

    let configuration: CacheConfiguration
    let redis: RedisTier?
    let time: any TimeSource
    let meters: CacheMeters
    let state: Mutex<State>
    private let jobs: AsyncStream<Job>
    let addJob: AsyncStream<Job>.Continuation

    /// - Parameter redis: nil is a cache in memory alone.
    public init(
        configuration: CacheConfiguration = CacheConfiguration(), redis: RedisConnection?, time: any TimeSource = SystemTime(),
        logger: Logger = Logger(label: "cache")
    ) {
        let meters = CacheMeters()
        self.configuration = configuration
        self.time = time
        self.meters = meters
        self.redis = redis.map { RedisTier(redis: $0, configuration: configuration, time: time, logger: logger, meters: meters) }
        state = Mutex(State(memory: MemoryTier(limit: configuration.memoryBytes)))
        (jobs, addJob) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(max(1, configuration.flights)))
    }

    /// Carries out the flights, so that none depends on the caller that began it, and tends Redis; until cancelled.
    ///
    /// Without it the cache still answers: callers then load for themselves.
    public func run() async {
        state.withLock { $0.isRunning = true }
        await withDiscardingTaskGroup { group in
            group.addTask { await self.tendRedis() }
            for await job in jobs { group.addTask { await job() } }
            group.cancelAll()
        }
        let left = state.withLock { state in
            state.isRunning = false
            return state.flights.landAll()
        }
        for waiter in left { waiter.resume(returning: .loadYourself) }
    }

    var isRunning: Bool { state.withLock { $0.isRunning } }

    private func tendRedis() async {
        guard let redis else { return }
        while !Task.isCancelled {
            await redis.tend()
            do { try await time.sleep(for: .milliseconds(250)) } catch { return }
        }
    }

    // MARK: Reading

    /// The value for `key`: fresh from a tier, or from `load`, which runs once however many ask at the same time.
    ///
    /// As long as `load` keeps `Deadline.current`, it ends within the cache's own budget, `configuration.load`, and no caller waits beyond its own
    /// deadline.
    ///
    /// - Throws: what `load` threw, to all who waited for it; the next caller loads anew. `CancellationError` for the cancelled caller
    ///   alone, and `CacheTimeout` for one whose deadline came first.
    public func value<Value: CacheableValue>(
        for key: String, as type: Value.Type = Value.self, load: @escaping @Sendable () async throws -> Value
    ) async throws -> CacheAnswer<Value> {
        let now = time.now()
        let found = state.withLock { $0.memory.look(for: key, at: now) }
        var expired: MemoryTier.Entry?
        switch found {
        case .fresh(let entry, let refresh):
            guard let value = entry.value as? Value else { break }
            meters.hits.add(for: .memory)
            if refresh { beginRefresh(key, load) }
            return CacheAnswer(value: value, source: .memory, age: now - entry.loadedAt)
        case .expired(let entry):
            if let retryAt = entry.retryAt, retryAt > now, let answer = staleAnswer(entry, Value.self, now) { return answer }
            expired = entry
        case .absent:
            break
        }
        do {
            return try await fetch(key, load)
        } catch {
            // A request that is refused, or a row that is not there, is an answer, not an outage.
            guard !(error is RequestProblem), !(error is CancellationError), let expired,
                let answer = staleAnswer(expired, Value.self, time.now())
            else { throw error }
            return answer
        }
    }

    private func staleAnswer<Value: CacheableValue>(_ entry: MemoryTier.Entry, _: Value.Type, _ now: MonotonicInstant) -> CacheAnswer<Value>? {
        guard now - entry.expiresAt <= configuration.stale, let value = entry.value as? Value else { return nil }
        meters.stale.add()
        return CacheAnswer(value: value, source: .stale, age: now - entry.loadedAt)
    }

    /// The newest version of `key` that a reader of this process may have got; nil when none is known.
    func newestVersion(for key: String) -> Int? {
        let now = time.now()
        return state.withLock { $0.memory.newestVersion(for: key, at: now) }
    }

    /// What keeps the cache from Redis, though it should use one; nil when nothing does.
    public var redisObstacle: RedisObstacle? { redis?.obstacle }

    public func statistics() -> CacheStatistics {
        let (bytes, entries, evictions) = state.withLock { ($0.memory.bytes, $0.memory.count, $0.memory.evictions) }
        return CacheStatistics(
            hits: meters.hits.values, misses: meters.misses.value, coalesced: meters.coalesced.value, loads: meters.loads.value,
            loadFailures: meters.loadFailures.value, refreshes: meters.refreshes.value, ownLoads: meters.ownLoads.value,
            stale: meters.stale.value, fallbacks: meters.fallbacks.values, errors: meters.errors.values,
            operations: meters.operations.mapValues { $0.snapshot() }, loadTime: meters.loadTime.snapshot(), memoryBytes: bytes,
            memoryLimit: configuration.memoryBytes, memoryEntries: entries, evictions: evictions, redisBypassed: redis?.isBypassed,
            suspectKeys: redis?.suspects ?? 0)
    }
}
