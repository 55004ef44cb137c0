import Logging
import Synchronization
import Vitals

/// What belongs to the pool and to no caller: connecting, recovering, retiring, the end.
extension Pool {
    /// Opens, recovers and retires connections until cancelled; then refuses newcomers. A lease that is still out goes on to its end, and
    /// its connection is closed when it comes back.
    public func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask { [self] in await tick() }
            addChore.yield(.connect)
            for await chore in chores {
                switch chore {
                case .connect:
                    for slot in guarded.withLock({ $0.state.connectsDue(now: .now()) }) {
                        group.addTask { [self] in await connect(slot) }
                    }
                case .recover(let slot, let connection):
                    group.addTask { [self] in
                        let usable = await connection.recover(until: Deadline(.now() + .seconds(1)))
                        settle(slot, connection, closing: .error) { $0.recovered(slot, usable: usable, now: .now()) }
                    }
                }
            }
            shutDown()
        }
    }

    private func connect(_ slot: PoolState.Slot) async {
        let started = MonotonicInstant.now()
        do {
            let connection = try await connector.connect(until: Deadline(started + configuration.connectTimeout))
            let took = .now() - started
            meters.createSucceeded.record(took)
            observeEvent?(.clientCreated(backendPID: Int(connection.backendPID), took: took))
            let wasDown = guarded.withLock { guarded in
                guarded.connections[slot] = connection
                if case .down = guarded.state.availability { return true }
                return false
            }
            if wasDown { logger.info("database is available again") }
            admit(slot, connection.facts, .now())
            settle(slot, connection, closing: .shutdown) { $0.connected(slot, now: .now()) }
            connection.whenLostWhileIdle { [weak self, weak connection] in
                guard let self, let connection else { return }
                lostWhileIdle(slot, connection)
            }
        } catch {
            if !Task.isCancelled { meters.createFailed.record(.now() - started) }
            connectFailed(slot, "\(error)")
        }
        // Success may leave others waiting; failure sets the time of the next attempt, which `tick` keeps.
        addChore.yield(.connect)
    }

    private func connectFailed(_ slot: PoolState.Slot, _ cause: String) {
        let now = MonotonicInstant.now()
        var generator = SystemRandomNumberGenerator()
        let (refused, error, isNew, next) = guarded.withLock { guarded in
            let wasUp = if case .up = guarded.state.availability { true } else { false }
            let ids = guarded.state.connectFailed(slot, cause: cause, now: now, using: &generator)
            let refused = ids.compactMap { guarded.waiting.removeValue(forKey: $0) }
            let isDown = if case .down = guarded.state.availability { true } else { false }
            return (refused, guarded.state.unavailable(now: now), wasUp && isDown, guarded.state.nextConnectDue)
        }
        for continuation in refused { continuation.resume(throwing: error) }
        if isNew, !Task.isCancelled { logger.error("database is unavailable", metadata: ["cause": "\(cause)", "waiters refused": "\(refused.count)"]) }
        if let next { loop.schedule(at: next) { [addChore] in addChore.yield(.connect) } }
    }

    private func lostWhileIdle(_ slot: PoolState.Slot, _ connection: PostgresConnection) {
        let removed = guarded.withLock { guarded in
            guard guarded.connections[slot] === connection, guarded.state.lostWhileIdle(slot, now: .now()) else { return false }
            guarded.connections[slot] = nil
            return true
        }
        guard removed else { return }
        meters.closed.add(for: .error)
        addChore.yield(.connect)
    }

    /// Each second: what is too old goes, the minimum is kept, long leases are named.
    private func tick() async {
        let time = SystemTime()
        while (try? await time.sleep(for: .seconds(1))) != nil {
            let now = MonotonicInstant.now()
            let (closing, leaks) = guarded.withLock { guarded in
                let closing = guarded.state.sweep(now: now).map { slot, reason in
                    defer { guarded.connections[slot] = nil }
                    return (guarded.connections[slot], reason)
                }
                return (closing, guarded.state.suspectedLeaks(now: now))
            }
            for (connection, reason) in closing {
                connection?.close()
                meters.closed.add(for: reason)
            }
            for leak in leaks {
                meters.leaks.add()
                logger.warning(
                    "lease held unusually long",
                    metadata: [
                        "purpose": "\(leak.purpose)", "detail": "\(leak.detail ?? "-")", "taken at": "\(leak.site)",
                        "age": "\((now - leak.since).text)",
                    ])
            }
            addChore.yield(.connect)
        }
        addChore.finish()
    }

    private func shutDown() {
        let (connections, refused) = guarded.withLock { guarded in
            let (slots, ids) = guarded.state.shutDown(now: .now())
            let connections = slots.compactMap { slot in
                defer { guarded.connections[slot] = nil }
                return guarded.connections[slot]
            }
            return (connections, ids.compactMap { guarded.waiting.removeValue(forKey: $0) })
        }
        for continuation in refused { continuation.resume(throwing: PoolError.shuttingDown) }
        for connection in connections {
            connection.close()
            meters.closed.add(for: .shutdown)
        }
    }
}
