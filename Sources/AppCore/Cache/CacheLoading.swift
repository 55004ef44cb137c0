import Synchronization
import Vitals

/// One flight of a key: to Redis, then to the database, and what becomes of what it brings.
extension TieredCache {
    /// A value on its way to whoever waits for it.
    struct Loaded<Value: Sendable>: Sendable {
        var value: Value
        var source: CacheSource
        /// When the load it comes from began.
        var loadedAt: MonotonicInstant
    }

    func fly<Value: CacheableValue>(_ key: String, _ id: Int, asksRedis: Bool, _ load: @Sendable () async throws -> Value) async {
        let deadline = Deadline(time.now() + configuration.load)
        if asksRedis, let found: Loaded<Value> = await fromRedis(key) {
            return land(id, .value(found.value, .redis, loadedAt: found.loadedAt))
        }
        do {
            // Nobody waits for Redis to have it, too.
            _ = try await loaded(key, until: deadline, load) { self.land(id, .value($0.value, $0.source, loadedAt: $0.loadedAt)) }
        } catch {
            land(id, Task.isCancelled ? .loadYourself : .failure(error))
        }
    }

    func land(_ id: Int, _ landing: Landing) {
        for waiter in state.withLock({ $0.flights.land(id) }) { waiter.resume(returning: landing) }
    }

    /// Asks the database, and keeps what it answers.
    ///
    /// - Parameter tell: called as soon as the value is kept here, before Redis is told of it. Nil from a caller who waits: Redis is not told.
    func loaded<Value: CacheableValue>(
        _ key: String, until deadline: Deadline, _ load: @Sendable () async throws -> Value, tell: ((Loaded<Value>) -> Void)? = nil
    ) async throws -> Loaded<Value> {
        let began = time.now()
        meters.loads.add()
        let value: Value
        do {
            value = try await Deadline.$current.withValue(deadline) { try await load() }
        } catch {
            meters.loadFailures.add()
            await loadFailed(key, began, error)
            throw error
        }
        meters.loadTime.record(time.now() - began)
        let lifetime = lifetime()
        let payload = RedisEnvelope(value, key: key, lifetime: lifetime).bytes
        let (answer, isForAll) = keep(value, for: key, size: payload.count, loadedAt: began, lifetime: lifetime)
        tell?(answer)
        if isForAll, tell != nil {
            await redis?.write(payload, version: value.version, for: key, remaining: lifetime - (time.now() - began), isWrite: false)
        }
        return answer
    }

    private func loadFailed(_ key: String, _ began: MonotonicInstant, _ error: any Error) async {
        guard !Task.isCancelled else { return }
        guard error is RequestProblem else {
            return state.withLock { $0.memory.loadFailed(for: key, retry: time.now() + .seconds(1)) }
        }
        // That there is no such row is an answer: what is kept of it goes, unless it came after the question.
        let wasKept = state.withLock { state in
            guard let entry = state.memory.entry(for: key), entry.seenAt <= began else { return false }
            return state.memory.remove(key)
        }
        if wasKept { await redis?.forget(key, orSuspect: true) }
    }

    /// Keeps what the database answered.
    ///
    /// - Returns: what to tell whoever asked, which is something newer where that is known; and whether all processes may have it.
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
            guard let entry = state.memory.entry(for: key), let newer = entry.value as? Value, newer.version > value.version else { return (answer, false) }
            return (Loaded(value: newer, source: .memory, loadedAt: entry.loadedAt), false)
        }
    }

    private func fromRedis<Value: CacheableValue>(_ key: String) async -> Loaded<Value>? {
        let began = time.now()
        guard let redis, state.withLock({ $0.believesRedis(of: key, at: began) }) else { return nil }
        switch await redis.read(key) {
        case .hit(let payload, let remaining):
            guard let envelope = RedisEnvelope<Value>(payload, for: key) else { return nil }
            let now = time.now()
            // Another process may let its values live longer than this one.
            let lifetime = min(Duration.milliseconds(envelope.lifetime), configuration.lifetime * 1.1)
            let age = max(Duration.zero, Duration.milliseconds(envelope.lifetime) - remaining)
            let loadedAt = now - age
            let isKept = state.withLock { state in
                // A write may have come while Redis was asked.
                guard age < lifetime, state.believesRedis(of: key, at: now), !state.barriers.overtook(key, loadedAt: began) else { return false }
                return state.memory.keep(envelope.value, for: key, size: payload.count, loadedAt: loadedAt, lifetime: lifetime, now: now)
            }
            return isKept ? Loaded(value: envelope.value, source: .redis, loadedAt: loadedAt) : nil
        case .miss:
            return nil
        case .fallback(let reason):
            meters.fallbacks.add(for: reason)
            return nil
        }
    }

    func lifetime() -> Duration { configuration.lifetime * Double.random(in: 0.9...1.1) }
}
