import Synchronization
import Vitals

/// The way of a read that memory cannot answer: one flight for each key.
///
/// 1. `fetch` waits for the flight of its key until the caller's deadline (`withinDeadline`).
/// 2. `joinOrBegin`: the caller joins the flight of its key, or begins one. Without `run()`, beyond `configuration.flights`, and when the queue
///    of jobs is full (`start`), it gets `loadYourself`, and loads for itself. So does a caller that wants the value as another type.
/// 3. `start` hands the flight over: `TieredCache.run` has `fly` carried out in a task of its own. `beginRefresh` starts one, too, for a value
///    that is still fresh.
/// 4. `fly` asks Redis (`fromRedis`), unless it refreshes, then the database (`askDatabase`). Both together have `configuration.load`.
/// 5. `land`: all who wait get one landing: the value, the error, or `loadYourself` when the cache stops (`TieredCache.run`).
/// 6. A caller that is cancelled or out of time leaves, and the flight goes on.
/// 7. A write lands the flight with what it wrote (`store`, `storeNew`). A write in doubt (`raiseBarrier`), and a row that another found gone
///    (`forget`, `loadFailed`), close the flight to newcomers: its waiters get the value it brings, and that is not kept (`keep`).
extension TieredCache {
    typealias Landing = CacheFlights.Landing

    func fetch<Value: CacheableValue>(
        _ key: String, _ load: @escaping @Sendable () async throws -> Value
    ) async throws -> CacheAnswer<Value> {
        switch await withinDeadline({ await self.joinOrBegin(key, load) }) {
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
        let (own, copy) = try await askDatabase(key, for: .caller(itsDeadline: deadline == Deadline.current), until: deadline, load)
        // Redis does not get it, and may have an older one.
        if let copy { refuseOlder(than: copy, of: key) }
        return CacheAnswer(value: own.value, source: own.source, age: time.now() - own.loadedAt)
    }

    // MARK: A flight

    private enum Joining {
        /// The flight of another caller.
        case joined
        case began(Int)
        case answered(Landing)
    }

    /// Waits until the flight of this key lands. Begins it if there is none.
    private func joinOrBegin<Value: CacheableValue>(_ key: String, _ load: @escaping @Sendable () async throws -> Value) async -> Landing {
        let caller = state.withLock { $0.flights.newID() }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let joining = state.withLock { state -> Joining in
                    if Task.isCancelled { return .answered(.failure(CancellationError())) }
                    if state.flights.join(key, as: caller, continuation) { return .joined }
                    guard state.isRunning, state.flights.count < configuration.flights else { return .answered(.loadYourself) }
                    let id = state.flights.begin(key)
                    _ = state.flights.join(key, as: caller, continuation)
                    return .began(id)
                }
                switch joining {
                case .joined: meters.coalesced.add()
                // At least interactive, whoever began it, since a more urgent caller may join.
                case .began(let id): start(key, id, min(Work.workClass, .interactive), asksRedis: true, load)
                case .answered(let landing): continuation.resume(returning: landing)
                }
            }
        } onCancel: {
            let left = state.withLock { $0.flights.leave(caller) }
            left?.resume(returning: .failure(CancellationError()))
        }
    }

    /// Reloads a value that is still fresh; callers get the old one meanwhile.
    func beginRefresh<Value: CacheableValue>(_ key: String, _ load: @escaping @Sendable () async throws -> Value) {
        let id = state.withLock { state -> Int? in
            guard state.isRunning, !state.flights.isUnderWay(key), state.flights.count < configuration.flights else { return nil }
            return state.flights.begin(key)
        }
        guard let id else { return }
        meters.refreshes.add()
        // Nobody waits for it. It does not ask Redis, which may have the same old value.
        start(key, id, .background, asksRedis: false, load)
    }

    private func start<Value: CacheableValue>(
        _ key: String, _ id: Int, _ workClass: WorkClass, asksRedis: Bool, _ load: @escaping @Sendable () async throws -> Value
    ) {
        // The job runs in the cache's own task, which knows nothing of the caller.
        let detail = Work.detail
        // `TieredCache.run` takes it from here.
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
        var redisHasNone = false
        if asksRedis {
            let found: FromRedis<Value> = await fromRedis(key)
            if case .found(let value) = found { return land(id, .value(value.value, .redis, loadedAt: value.loadedAt)) }
            if case .none = found { redisHasNone = true }
        }
        do {
            let (answer, copy) = try await askDatabase(key, for: .flight(redisHasNone: redisHasNone), until: deadline, load)
            land(id, .value(answer.value, answer.source, loadedAt: answer.loadedAt))
            // No caller waits until Redis has it, too.
            if let copy { await share(copy, as: key) }
        } catch {
            land(id, Task.isCancelled ? .loadYourself : .failure(error))
        }
    }

    private func land(_ id: Int, _ landing: Landing) {
        for waiter in state.withLock({ $0.flights.land(id) }) { waiter.resume(returning: landing) }
    }

    // MARK: A caller

    /// The landing, or `CacheTimeout` at the caller's deadline.
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
}
