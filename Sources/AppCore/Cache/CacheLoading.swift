import Synchronization
import Vitals

/// The way of a read that memory cannot answer: one flight for each key.
///
/// 1. `fetch`: the caller joins the flight of its key, or begins one. Without `run()`, and beyond `configuration.flights`, it loads for itself.
/// 2. `fly`: the flight runs in the cache's own task. It asks Redis, then `load`, which gets `configuration.load` as its deadline.
/// 3. `land`: all who wait get one landing: the value, the error, or `loadYourself` when the cache stops.
/// 4. A caller that is cancelled or out of time leaves, and the flight goes on.
/// 5. A write lands the flight with what it wrote (`store`). A write in doubt, and a row that is found gone, close the flight to newcomers
///    (`doubt`, `forget`): those in it get what it brings, and nobody keeps that (`keep`).
extension TieredCache {
    typealias Landing = CacheFlights.Landing

    /// A value on its way to whoever waits for it.
    struct Loaded<Value: Sendable>: Sendable {
        var value: Value
        var source: CacheSource
        /// When the load it comes from began.
        var loadedAt: MonotonicInstant
    }

    func fetch<Value: CacheableValue>(
        _ key: String, _ load: @escaping @Sendable () async throws -> Value
    ) async throws -> CacheAnswer<Value> {
        switch await withinDeadline({ await self.landing(of: key, load) }) {
        case .value(let value, let source, let loadedAt):
            guard let value = value as? Value else { break }
            if source == .redis { meters.hits.add(for: .redis) } else { meters.misses.add() }
            return CacheAnswer(value: value, source: source, age: time.now() - loadedAt)
        case .failure(let error):
            meters.misses.add()
            throw error
        case .loadYourself:
            break
        }
        meters.misses.add()
        meters.ownLoads.add()
        state.withLock { $0.ownLoads += 1 }
        defer { state.withLock { $0.ownLoads -= 1 } }
        let deadline = time.deadline(within: configuration.load)
        let own = try await loaded(key, until: deadline, isCallers: deadline == Deadline.current, load).answer
        return CacheAnswer(value: own.value, source: own.source, age: time.now() - own.loadedAt)
    }

    /// What comes of waiting, or `CacheTimeout` at the caller's deadline.
    private func withinDeadline(_ wait: @escaping @Sendable () async -> Landing) async -> Landing {
        let began = time.now()
        // A flight takes `configuration.load` at most: a caller with more time needs no timer.
        guard let deadline = Deadline.current, deadline < Deadline(began + configuration.load) else { return await wait() }
        guard !deadline.hasPassed(at: began) else { return .failure(CacheTimeout(waited: .zero)) }
        return await withTaskGroup(of: Landing?.self) { group in
            group.addTask { await wait() }
            group.addTask {
                try? await self.time.sleep(until: deadline.instant)
                return nil
            }
            let first = await group.next() ?? nil
            group.cancelAll()
            if let first { return first }
            // The clock was first. The cancelled wait returns at once; if the flight has landed just now, its value counts.
            let last = await group.next() ?? nil
            if case .value? = last, let last { return last }
            return .failure(Task.isCancelled ? CancellationError() : CacheTimeout(waited: time.now() - began))
        }
    }

    private enum Joining {
        /// The flight of another caller.
        case joined
        case began(Int)
        case told(Landing)
    }

    /// How the flight of this key lands. Begins it if there is none.
    private func landing<Value: CacheableValue>(of key: String, _ load: @escaping @Sendable () async throws -> Value) async -> Landing {
        let caller = state.withLock { $0.flights.newID() }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let joining = state.withLock { state -> Joining in
                    if Task.isCancelled { return .told(.failure(CancellationError())) }
                    if state.flights.join(key, as: caller, continuation) { return .joined }
                    guard state.isRunning, state.flights.count < configuration.flights else { return .told(.loadYourself) }
                    let id = state.flights.begin(key)
                    _ = state.flights.join(key, as: caller, continuation)
                    return .began(id)
                }
                switch joining {
                case .joined: meters.coalesced.add()
                // Interactive at least, or as urgent as its caller: one who is in a hurry may join what another began.
                case .began(let id): start(key, id, min(Work.workClass, .interactive), asksRedis: true, load)
                case .told(let landing): continuation.resume(returning: landing)
                }
            }
        } onCancel: {
            let left = state.withLock { $0.flights.leave(caller) }
            left?.resume(returning: .failure(CancellationError()))
        }
    }

    /// Loads a value anew that is still fresh, and that callers get meanwhile.
    func beginRefresh<Value: CacheableValue>(_ key: String, _ load: @escaping @Sendable () async throws -> Value) {
        let id = state.withLock { state -> Int? in
            guard state.isRunning, !state.flights.isUnderWay(key), state.flights.count < configuration.flights else { return nil }
            return state.flights.begin(key)
        }
        guard let id else { return }
        meters.refreshes.add()
        // Nobody waits for it. What Redis has is as old as what is to be refreshed.
        start(key, id, .background, asksRedis: false, load)
    }

    private func start<Value: CacheableValue>(
        _ key: String, _ id: Int, _ workClass: WorkClass, asksRedis: Bool, _ load: @escaping @Sendable () async throws -> Value
    ) {
        // In the cache's own task, which knows nothing of the caller.
        let detail = Work.detail
        let accepted = addJob.yield {
            await Work.$detail.withValue(detail) {
                await Work.$workClass.withValue(workClass) { await self.fly(key, id, asksRedis: asksRedis, load) }
            }
        }
        if case .enqueued = accepted { return }
        land(id, .loadYourself)
    }

    private func fly<Value: CacheableValue>(_ key: String, _ id: Int, asksRedis: Bool, _ load: @Sendable () async throws -> Value) async {
        let deadline = Deadline(time.now() + configuration.load)
        if asksRedis, let found: Loaded<Value> = await fromRedis(key) {
            return land(id, .value(found.value, .redis, loadedAt: found.loadedAt))
        }
        do {
            let (answer, copy) = try await loaded(key, until: deadline, load)
            land(id, .value(answer.value, answer.source, loadedAt: answer.loadedAt))
            // Nobody waits for Redis to have it, too.
            if let copy { await redis?.write(copy.payload, version: copy.version, for: key, remaining: copy.expiresAt - time.now(), isWrite: false) }
        } catch {
            land(id, Task.isCancelled ? .loadYourself : .failure(error))
        }
    }

    private func land(_ id: Int, _ landing: Landing) {
        for waiter in state.withLock({ $0.flights.land(id) }) { waiter.resume(returning: landing) }
    }

    /// What Redis is to have of a load.
    private struct Copy {
        var payload: [UInt8]
        var version: Int
        var expiresAt: MonotonicInstant
    }

    /// Asks the database, and keeps what it answers.
    ///
    /// - Parameter isCallers: the deadline is that of a caller with less time than a load gets.
    /// - Returns: what to tell whoever asked, and what Redis may have of it, too.
    private func loaded<Value: CacheableValue>(
        _ key: String, until deadline: Deadline, isCallers: Bool = false, _ load: @Sendable () async throws -> Value
    ) async throws -> (answer: Loaded<Value>, Copy?) {
        let began = time.now()
        meters.loads.add()
        let value: Value
        do {
            value = try await Deadline.$current.withValue(deadline) { try await load() }
        } catch {
            meters.loadFailures.add()
            // What its caller gave up for want of time says nothing about the database.
            if !(isCallers && deadline.hasPassed(at: time.now())) { await loadFailed(key, began, error) }
            throw error
        }
        meters.loadTime.record(time.now() - began)
        let lifetime = lifetime()
        let payload = RedisEnvelope(value, key: key, lifetime: lifetime).bytes
        let (answer, isForAll) = keep(value, for: key, size: payload.count, loadedAt: began, lifetime: lifetime)
        return (answer, isForAll ? Copy(payload: payload, version: value.version, expiresAt: began + lifetime) : nil)
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
        if wasKept { await redis?.forget(key, isKnown: true) }
    }

    /// Keeps what the database answered.
    ///
    /// - Returns: the value to tell, a newer one where memory has it; and whether Redis may have it, too.
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
