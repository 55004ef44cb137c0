import FoundationEssentials
public import Logging
import Synchronization
public import Vitals

/// Values by key: from memory, else from Redis, else loaded once for all who want it.
///
/// A caller never sees a version older than one it could have seen before, whichever way the value came. While loads fail, an
/// expired value is answered with its age; a Redis that is dead or frozen costs one deadline and then nothing.
public final class TieredCache: Sendable {
    /// What a waiting caller is told.
    private enum Landing {
        case value(any CacheableValue, CacheAnswer<Never>.Source)
        case failure(any Error)
        /// Nobody loads it for the caller.
        case loadYourself
    }

    private struct Flight {
        var id: Int
        var waiters: [Int: CheckedContinuation<Landing, Never>] = [:]
    }

    private struct State {
        var memory: MemoryTier
        var flights: [String: Flight] = [:]
        var nextID = 0
        var isRunning = false

        mutating func newID() -> Int {
            nextID += 1
            return nextID
        }
    }

    private typealias Job = @Sendable () async -> Void

    private let configuration: CacheConfiguration
    private let redis: RedisTier?
    private let time: any TimeSource
    private let meters: CacheMeters
    private let state: Mutex<State>
    private let jobs: AsyncStream<Job>
    private let queue: AsyncStream<Job>.Continuation

    /// - Parameter redis: nil is a cache in memory alone.
    public init(
        configuration: CacheConfiguration = CacheConfiguration(), redis: RedisConnection?, time: any TimeSource = SystemTime(),
        logger: Logger = Logger(label: "cache")
    ) {
        let meters = CacheMeters()
        self.configuration = configuration
        self.time = time
        self.meters = meters
        self.redis = redis.map { RedisTier(redis: $0, lifetime: configuration.lifetime, time: time, logger: logger, meters: meters) }
        state = Mutex(State(memory: MemoryTier(limit: configuration.memoryBytes)))
        (jobs, queue) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(max(1, configuration.flights)))
    }

    /// Carries out the loads, so that none depends on the caller that began it, and sees to Redis; until cancelled.
    ///
    /// Without it the cache still answers: callers then load for themselves.
    public func run() async {
        state.withLock { $0.isRunning = true }
        await withDiscardingTaskGroup { group in
            group.addTask { await self.keepRedis() }
            for await job in jobs { group.addTask { await job() } }
            group.cancelAll()
        }
        let left = state.withLock { state in
            state.isRunning = false
            defer { state.flights = [:] }
            return state.flights.values.flatMap { $0.waiters.values }
        }
        for waiter in left { waiter.resume(returning: .loadYourself) }
    }

    var isRunning: Bool { state.withLock { $0.isRunning } }

    private func keepRedis() async {
        guard let redis else { return }
        while !Task.isCancelled {
            await redis.keep()
            do { try await time.sleep(for: .milliseconds(250)) } catch { return }
        }
    }

    // MARK: Reading

    /// The value for `key`: fresh from a tier, or from `load`, which runs once however many ask at the same time.
    ///
    /// A load runs on behalf of the caller that began it, within the cache's own budget; nobody waits for it beyond his own deadline.
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
            return CacheAnswer(value: value, source: .memory, age: now - entry.storedAt)
        case .expired(let entry):
            if let retryAt = entry.retryAt, retryAt > now, let answer = staleAnswer(entry, Value.self, now) { return answer }
            expired = entry
        case .absent:
            break
        }
        do {
            return try await fetch(key, load)
        } catch {
            // A client's mistake is an answer, not an outage.
            guard !(error is RequestProblem), !(error is CancellationError), let expired,
                let answer = staleAnswer(expired, Value.self, time.now())
            else { throw error }
            return answer
        }
    }

    private func staleAnswer<Value: CacheableValue>(_ entry: MemoryTier.Entry, _: Value.Type, _ now: MonotonicInstant) -> CacheAnswer<Value>? {
        guard now - entry.expiresAt <= configuration.stale, let value = entry.value as? Value else { return nil }
        meters.stale.add()
        return CacheAnswer(value: value, source: .stale, age: now - entry.storedAt)
    }

    private func fetch<Value: CacheableValue>(
        _ key: String, _ load: @escaping @Sendable () async throws -> Value
    ) async throws -> CacheAnswer<Value> {
        switch await join(key, load) {
        case .value(let value, let source):
            guard let value = value as? Value else { break }
            if source == .redis { meters.hits.add(for: .redis) } else { meters.misses.add() }
            return CacheAnswer(value: value, source: source == .redis ? .redis : .loaded, age: .zero)
        case .failure(let error):
            meters.misses.add()
            throw error
        case .loadYourself:
            break
        }
        meters.misses.add()
        meters.ownLoads.add()
        let value = try await Deadline.$current.withValue(time.deadline(within: configuration.load)) { try await loaded(load) }
        keep(value, for: key, size: Self.encoded(value).count)
        return CacheAnswer(value: value, source: .loaded, age: .zero)
    }

    /// Waits for the flight of this key, no longer than the caller's deadline.
    private func join<Value: CacheableValue>(_ key: String, _ load: @escaping @Sendable () async throws -> Value) async -> Landing {
        let began = time.now()
        // A flight ends within its budget; only who has less time than that must look at the clock.
        guard let deadline = Deadline.current, deadline < Deadline(began + configuration.load) else {
            return await board(key, load)
        }
        guard !deadline.hasPassed(at: began) else { return .failure(CacheTimeout(waited: .zero)) }
        return await withTaskGroup(of: Landing?.self) { group in
            group.addTask { await self.board(key, load) }
            group.addTask {
                try? await self.time.sleep(until: deadline.instant)
                return nil
            }
            let first = await group.next() ?? nil
            group.cancelAll()
            if let first { return first }
            // The clock was first. Who leaves the flight is told so at once, unless it has landed just now.
            let last = await group.next() ?? nil
            if case .value? = last, let last { return last }
            return .failure(Task.isCancelled ? CancellationError() : CacheTimeout(waited: time.now() - began))
        }
    }

    /// Waits for the flight of this key, beginning it if there is none.
    private func board<Value: CacheableValue>(_ key: String, _ load: @escaping @Sendable () async throws -> Value) async -> Landing {
        let waiter = state.withLock { $0.newID() }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let (begun, landing) = state.withLock { state -> (Int?, Landing?) in
                    if Task.isCancelled { return (nil, .failure(CancellationError())) }
                    if state.flights[key] != nil {
                        state.flights[key]?.waiters[waiter] = continuation
                        return (nil, nil)
                    }
                    guard state.isRunning, state.flights.count < configuration.flights else { return (nil, .loadYourself) }
                    let id = state.newID()
                    state.flights[key] = Flight(id: id, waiters: [waiter: continuation])
                    return (id, nil)
                }
                if let begun {
                    // An urgent caller may wait for what an unhurried one began.
                    takeOff(key, begun, min(Work.workClass, .interactive), load)
                } else if let landing {
                    continuation.resume(returning: landing)
                } else {
                    meters.coalesced.add()
                }
            }
        } onCancel: {
            let left = state.withLock { $0.flights[key]?.waiters.removeValue(forKey: waiter) }
            left?.resume(returning: .failure(CancellationError()))
        }
    }

    private func beginRefresh<Value: CacheableValue>(_ key: String, _ load: @escaping @Sendable () async throws -> Value) {
        let id = state.withLock { state -> Int? in
            guard state.isRunning, state.flights[key] == nil, state.flights.count < configuration.flights else { return nil }
            let id = state.newID()
            state.flights[key] = Flight(id: id)
            return id
        }
        guard let id else { return }
        meters.refreshes.add()
        // Whoever saw that it is due has his answer already.
        takeOff(key, id, .background, load)
    }

    // MARK: Loading

    private func takeOff<Value: CacheableValue>(
        _ key: String, _ id: Int, _ workClass: WorkClass, _ load: @escaping @Sendable () async throws -> Value
    ) {
        // It flies in the cache's own task, which knows nothing of the caller.
        let detail = Work.detail
        let accepted = queue.yield {
            await Work.$detail.withValue(detail) {
                await Work.$workClass.withValue(workClass) { await self.fly(key, id, load) }
            }
        }
        if case .enqueued = accepted { return }
        land(key, id, .loadYourself)
    }

    private func fly<Value: CacheableValue>(_ key: String, _ id: Int, _ load: @Sendable () async throws -> Value) async {
        let deadline = Deadline(time.now() + configuration.load)
        if let value: Value = await fromRedis(key) { return land(key, id, .value(value, .redis)) }
        do {
            let value = try await Deadline.$current.withValue(deadline) { try await loaded(load) }
            let payload = Self.encoded(value)
            let isCurrent = keep(value, for: key, size: payload.count)
            // Nobody waits for Redis to have it, too.
            land(key, id, .value(value, .loaded))
            if isCurrent { await redis?.write(payload, version: value.version, for: key, lifetime: lifetime(), isWrite: false) }
        } catch {
            guard !Task.isCancelled else { return land(key, id, .loadYourself) }
            state.withLock { $0.memory.loadFailed(for: key, retry: time.now() + .seconds(1)) }
            land(key, id, .failure(error))
        }
    }

    private func loaded<Value: CacheableValue>(_ load: @Sendable () async throws -> Value) async throws -> Value {
        let began = time.now()
        meters.loads.add()
        do {
            let value = try await load()
            meters.loadTime.record(time.now() - began)
            return value
        } catch {
            meters.loadFailures.add()
            throw error
        }
    }

    private func fromRedis<Value: CacheableValue>(_ key: String) async -> Value? {
        let now = time.now()
        guard let redis, state.withLock({ $0.memory.floorsLostUntil.map { $0 <= now } ?? true }) else { return nil }
        switch await redis.read(key) {
        case .hit(let payload):
            // What cannot be read was written by another version of this program: as good as nothing.
            guard let value = try? JSONDecoder().decode(Value.self, from: Data(payload)),
                keep(value, for: key, size: payload.count)
            else { return nil }
            return value
        case .miss:
            return nil
        case .fallback(let reason):
            meters.fallbacks.add(for: reason)
            return nil
        }
    }

    private func land(_ key: String, _ id: Int, _ landing: Landing) {
        let waiters = state.withLock { state -> [CheckedContinuation<Landing, Never>] in
            guard let flight = state.flights[key], flight.id == id else { return [] }
            state.flights[key] = nil
            return Array(flight.waiters.values)
        }
        for waiter in waiters { waiter.resume(returning: landing) }
    }

    /// The newest version of `key` that a reader of this process may have seen; nil when none is known.
    func newestVersion(for key: String) -> Int? {
        let now = time.now()
        return state.withLock { $0.memory.newestVersion(for: key, at: now) }
    }

    /// - Returns: false when a newer version is known.
    @discardableResult
    private func keep(_ value: any CacheableValue, for key: String, size: Int) -> Bool {
        let lifetime = lifetime()
        let now = time.now()
        return state.withLock { $0.memory.keep(value, for: key, size: size, lifetime: lifetime, now: now) }
    }

    private func lifetime() -> Duration { configuration.lifetime * Double.random(in: 0.9...1.1) }

    private static func encoded(_ value: any CacheableValue) -> [UInt8] {
        // A value that cannot be written as JSON is kept in memory alone.
        (try? JSONEncoder().encode(value)).map { Array($0) } ?? []
    }

    // MARK: Writing

    /// Puts a value that was just written in the place of all older ones.
    ///
    /// When it returns no reader of this process gets an older version, though Redis should be away: a load that began before, or an
    /// old copy in Redis, is recognised by its version.
    public func store(_ value: some CacheableValue, for key: String) async {
        let payload = Self.encoded(value)
        let now = time.now()
        let lifetime = lifetime()
        let waiters = state.withLock { state -> [CheckedContinuation<Landing, Never>] in
            state.memory.raiseFloor(for: key, to: value.version, until: now + configuration.lifetime * 1.2, now: now)
            guard state.memory.keep(value, for: key, size: payload.count, lifetime: lifetime, now: now) else { return [] }
            // Whoever waits for an older load gets this instead; who comes now finds it in memory, or begins a new flight.
            return state.flights.removeValue(forKey: key).map { Array($0.waiters.values) } ?? []
        }
        for waiter in waiters { waiter.resume(returning: .value(value, .loaded)) }
        await redis?.write(payload, version: value.version, for: key, lifetime: lifetime, isWrite: true)
    }

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
