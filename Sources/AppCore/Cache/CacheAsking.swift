import Synchronization
import Vitals

/// Whom a flight asks, and what is kept of the answer.
extension TieredCache {
    /// A value on its way to whoever waits for it.
    struct Loaded<Value: Sendable>: Sendable {
        var value: Value
        var source: CacheSource
        /// When the load it comes from began.
        var loadedAt: MonotonicInstant
    }

    /// The copy of a loaded value that Redis is to have.
    struct Copy {
        var payload: [UInt8]
        var version: Int
        var loadedAt: MonotonicInstant
        var expiresAt: MonotonicInstant
    }

    func lifetime() -> Duration { configuration.lifetime * Double.random(in: 0.9...1.1) }

    // MARK: Redis

    enum FromRedis<Value: Sendable>: Sendable {
        case found(Loaded<Value>)
        case none
        /// Redis was not asked, could not answer, or has something that is not believed.
        case unknown
    }

    func fromRedis<Value: CacheableValue>(_ key: String) async -> FromRedis<Value> {
        let began = time.now()
        guard let redis, state.withLock({ $0.believesRedis(of: key, at: began) }) else { return .unknown }
        switch await redis.read(key) {
        case .hit(let payload, let remaining):
            guard let envelope = RedisEnvelope<Value>(payload, for: key) else { return .unknown }
            let now = time.now()
            // Another process may let its values live longer than this one.
            let lifetime = min(Duration.milliseconds(envelope.lifetime), configuration.lifetime * 1.1)
            let age = max(Duration.zero, Duration.milliseconds(envelope.lifetime) - remaining)
            let loadedAt = now - age
            let isCurrent = state.withLock { state in
                // A write may have come while Redis was asked. What another process loaded before may have
                // come to Redis after it.
                guard age < lifetime, state.believesRedis(of: key, at: now), !state.barriers.overtook(key, loadedAt: min(began, loadedAt)) else {
                    return false
                }
                return state.memory.keep(envelope.value, for: key, size: payload.count, loadedAt: loadedAt, lifetime: lifetime, now: now)
            }
            return isCurrent ? .found(Loaded(value: envelope.value, source: .redis, loadedAt: loadedAt)) : .unknown
        case .miss:
            return .none
        case .fallback(let reason):
            meters.fallbacks.add(for: reason)
            return .unknown
        }
    }

    /// Gives Redis what was loaded.
    func share(_ copy: Copy, as key: String) async {
        guard let redis else { return }
        state.withLock { $0.shares[key, default: 0] += 1 }
        defer {
            state.withLock { state in
                let others = state.shares[key, default: 1] - 1
                state.shares[key] = others > 0 ? others : nil
            }
        }
        let remaining = copy.expiresAt - time.now()
        let hasNothingOlder = await redis.write(copy.payload, version: copy.version, for: key, remaining: remaining, isWrite: false)
        let now = time.now()
        let (isOvertaken, isInDoubt) = state.withLock { state in
            (state.barriers.overtook(key, loadedAt: copy.loadedAt), state.barriers.isInDoubt(key, at: now))
        }
        if isOvertaken {
            // The row was found gone, or its number was given to a new one, perhaps before the copy came to Redis. In doubt, nothing is stored there.
            if !isInDoubt { await redis.forget(key, isKnown: true) }
        } else if !hasNothingOlder {
            refuseOlder(than: copy, of: key)
        }
    }

    /// Redis may have an older version than was answered here. Until that has expired there, this process does not take it.
    func refuseOlder(than copy: Copy, of key: String) {
        guard redis != nil else { return }
        let now = time.now()
        state.withLock { $0.memory.raiseFloor(for: key, to: copy.version, until: now + configuration.copyLifetime, now: now) }
    }

    // MARK: The database

    /// For whom the database is asked.
    enum Asker {
        /// A flight. `redisHasNone`: Redis was asked before, and has nothing under the key.
        case flight(redisHasNone: Bool)
        /// A caller that loads for itself. `itsDeadline`: the deadline is its own, since it has less time than a load gets.
        case caller(itsDeadline: Bool)
    }

    /// Asks the database, and keeps what it answers.
    ///
    /// - Returns: the answer for whoever asked, and what Redis may have of it, too.
    func askDatabase<Value: CacheableValue>(
        _ key: String, for asker: Asker, until deadline: Deadline, _ load: @Sendable () async throws -> Value
    ) async throws -> (answer: Loaded<Value>, copy: Copy?) {
        let began = time.now()
        meters.loads.add()
        let value: Value
        do {
            value = try await Deadline.$current.withValue(deadline) { try await load() }
        } catch {
            meters.loadFailures.add()
            // When the caller's own deadline ended it, the database is not to blame.
            let isCallers = if case .caller(itsDeadline: true) = asker { deadline.hasPassed(at: time.now()) } else { false }
            if !isCallers { loadFailed(key, asker, began, error) }
            throw error
        }
        meters.loadTime.record(time.now() - began)
        let lifetime = lifetime()
        let payload = RedisEnvelope(value, key: key, lifetime: lifetime).bytes
        let (answer, isForAll) = keep(value, for: key, size: payload.count, loadedAt: began, lifetime: lifetime)
        return (answer, isForAll ? Copy(payload: payload, version: value.version, loadedAt: began, expiresAt: began + lifetime) : nil)
    }

    private func loadFailed(_ key: String, _ asker: Asker, _ began: MonotonicInstant, _ error: any Error) {
        guard !Task.isCancelled else { return }
        let now = time.now()
        guard let problem = error as? RequestProblem else {
            return state.withLock { $0.memory.loadFailed(for: key, retry: now + .seconds(1)) }
        }
        guard case .notFound = problem else { return }
        // "No such row" is an answer, too: what is kept of the row goes, in Redis as well, unless it came after the database was asked.
        let (mayBeInRedis, isCaller) =
            switch asker {
            case .flight(let redisHasNone): (!redisHasNone, false)
            case .caller: (true, true)
            }
        let (isGone, isKnown) = state.withLock { state in
            let isKnown = state.memory.newestVersion(for: key, at: now) != nil || state.shares[key] != nil
            if let entry = state.memory.entry(for: key), entry.seenAt > began { return (false, isKnown) }
            state.memory.remove(key)
            // A slower load that began before, or its copy for Redis, must not bring it back. One that asks from here on begins a flight of its own.
            let othersLoad = isCaller ? state.flights.overtake(key) != nil || state.ownLoads > 1 : state.ownLoads > 0
            if isKnown || othersLoad { state.barriers.raise(for: key, inDoubt: false, loads: configuration.load * 2, now: now) }
            return (true, isKnown)
        }
        if isGone, isKnown || mayBeInRedis { redis?.suspectGone(key, isKnown: isKnown) }
    }

    /// Keeps what the database answered.
    ///
    /// An overtaken load is answered, because its callers asked before the change, but not kept, because those who come later did not.
    ///
    /// - Returns: the value to answer: a newer one if memory has one; and whether the loaded value is for Redis, too.
    private func keep<Value: CacheableValue>(
        _ value: Value, for key: String, size: Int, loadedAt: MonotonicInstant, lifetime: Duration
    ) -> (Loaded<Value>, isForAll: Bool) {
        let now = time.now()
        let answer = Loaded(value: value, source: .loaded, loadedAt: loadedAt)
        return state.withLock { state in
            guard !state.barriers.overtook(key, loadedAt: loadedAt) else { return (answer, false) }
            let isInDoubt = state.barriers.isInDoubt(key, at: now)
            let isNewest = state.memory.keep(
                value, for: key, size: size, loadedAt: loadedAt, lifetime: isInDoubt ? min(lifetime, CacheBarriers.moment) : lifetime,
                asked: value.mayLag ? nil : loadedAt, now: now)
            if isNewest { return (answer, !isInDoubt) }
            // A floor has a version, but no value: then the older value is all there is. It is answered, and not kept.
            guard let entry = state.memory.entry(for: key), let newer = entry.value as? Value, newer.version > value.version else {
                return (answer, false)
            }
            return (Loaded(value: newer, source: .memory, loadedAt: entry.loadedAt), false)
        }
    }
}
