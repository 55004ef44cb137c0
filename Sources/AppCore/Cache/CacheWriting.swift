import Synchronization
import Vitals

extension TieredCache {
    /// Runs `write`, which writes the row behind `key`. What it returns takes the place of all older values.
    ///
    /// If nobody knows whether the write took effect, all values read before it are dropped, and for `CacheBarriers.doubt` loaded values are kept
    /// for `CacheBarriers.moment` only. A row that is found to be gone is gone here, too.
    public func writing<Value: CacheableValue>(_ key: String, _ write: () async throws -> Value) async throws -> Value {
        let began = time.now()
        do {
            let value = try await write()
            await store(value, for: key, asked: began)
            return value
        } catch {
            if case RequestProblem.notFound = error {
                await forget(key)
            } else if mayHaveTakenEffect(error) {
                await doubt(key)
            }
            throw error
        }
    }

    /// Puts a value that was just written in the place of all older ones.
    ///
    /// After it returns, no reader of this process gets an older version, even without Redis: a load that began before, or an old copy in
    /// Redis, is recognised by its version. One exception: when memory has let the value go, and only a standby that lags can be asked, its
    /// older answer is given, but not kept. When the database has gone back in time, and counts from a lower version again, a write wins, too.
    ///
    /// - Parameter asked: when the write began.
    func store<Value: CacheableValue>(_ value: Value, for key: String, asked: MonotonicInstant) async {
        await put(value, for: key, asked: asked) { _, _ in }
    }

    /// Puts the value of a row that was just made. It has no older values. What is known under its key is of a lost row, whose number the database
    /// has given again, as after a restore: none of that is answered any more, whatever its version.
    ///
    /// - Parameter asked: when the write began.
    func storeNew<Value: CacheableValue>(_ value: Value, for key: String, asked: MonotonicInstant) async {
        await put(value, for: key, asked: asked) { state, now in
            let isKnown = state.memory.newestVersion(for: key, at: now) != nil || state.flights.isUnderWay(key) || state.shares[key] != nil
            state.memory.forgetHistory(of: key)
            if isKnown || state.ownLoads > 0 { state.barriers.raise(for: key, inDoubt: false, loads: configuration.load * 2, now: now) }
        }
    }

    private func put<Value: CacheableValue>(
        _ value: Value, for key: String, asked: MonotonicInstant, after prepare: @Sendable (inout State, MonotonicInstant) -> Void
    ) async {
        let lifetime = lifetime()
        let payload = RedisEnvelope(value, key: key, lifetime: lifetime).bytes
        let now = time.now()
        let waiters = state.withLock { state -> [CacheFlights.Continuation] in
            prepare(&state, now)
            let isInDoubt = state.barriers.isInDoubt(key, at: now)
            let isNewest = state.memory.keep(
                value, for: key, size: payload.count, loadedAt: asked, lifetime: isInDoubt ? CacheBarriers.moment : lifetime, asked: asked, now: now)
            state.memory.raiseFloor(for: key, to: value.version, until: now + configuration.copyLifetime, now: now)
            guard isNewest, let overtaken = state.flights.overtake(key) else { return [] }
            // Whoever waits for an older load gets this instead; a new caller finds it in memory, or begins a new flight.
            return state.flights.land(overtaken)
        }
        for waiter in waiters { waiter.resume(returning: .value(value, .loaded, loadedAt: asked)) }
        await redis?.write(payload, version: value.version, for: key, remaining: lifetime - (now - asked), isWrite: true)
    }

    /// The key is in doubt: a write of its row may have taken effect, or may do so yet.
    func doubt(_ key: String) async {
        raiseBarrier(for: key, inDoubt: true)
        await redis?.doubt(key, for: CacheBarriers.doubt)
    }

    /// There is no row behind `key` any more: what is kept of it goes, in Redis as well, and what is being loaded is not kept.
    public func forget(_ key: String) async {
        let wasKnown = raiseBarrier(for: key, inDoubt: false)
        await redis?.forget(key, isKnown: wasKnown)
    }

    /// - Returns: whether anything of `key` was here.
    @discardableResult
    func raiseBarrier(for key: String, inDoubt: Bool) -> Bool {
        let now = time.now()
        return state.withLock { state in
            let wasSeen = state.memory.newestVersion(for: key, at: now) != nil
            state.memory.remove(key)
            let wasUnderWay = state.flights.overtake(key) != nil || state.shares[key] != nil
            let wasKnown = wasSeen || wasUnderWay
            // Of a row that was never here, and that nobody loads, nothing can be left behind.
            if inDoubt || wasKnown || state.ownLoads > 0 { state.barriers.raise(for: key, inDoubt: inDoubt, loads: configuration.load * 2, now: now) }
            return wasKnown
        }
    }
}

/// Whether a statement that failed with this may have changed something all the same: it was sent, and its answer did not come, could not be
/// read, or leaves that open.
func mayHaveTakenEffect(_ error: any Error) -> Bool {
    switch error {
    // Nothing was sent, or the server said that nothing was changed.
    case is RequestProblem, is SchemaError, is PoolError: false
    case let error as PostgresError:
        switch error {
        case .connectFailed, .connectTimedOut, .notSent, .transactionRolledBack: false
        case .server(let server): server.leavesOutcomeOpen
        default: true
        }
    default: true
    }
}
