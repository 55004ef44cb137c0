import Logging
import Synchronization
import Vitals

/// What belongs to the pool and to no caller: connecting, recovering, looking around each second, the end. A connection that
/// comes back past its lifetime is closed at once, or, when another went just now, by a timer (PoolTimers.swift).
extension Pool {
    /// Opens and recovers connections, and looks around each second, until cancelled; then refuses newcomers. A lease that is still out goes on
    /// to its end, and its connection is closed when it comes back.
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
                case .recover(let pooled):
                    group.addTask { [self] in
                        let usable = await pooled.connection.recover(until: Deadline(.now() + .seconds(1)))
                        passOn(pooled) { $0.recovered(pooled.slot, usable: usable, now: .now()) }
                    }
                case .unblock(let batch):
                    group.addTask { [self] in await clear(batch) }
                }
            }
            shutDown()
        }
    }

    private func connect(_ slot: PoolState.Slot) async {
        let started = MonotonicInstant.now()
        let silence = loop.schedule(at: started + guarded.withLock { $0.state.patience }) { [self] in noticeSilence() }
        defer { loop.cancel(silence) }
        do {
            let connection = try await connector.connect(until: Deadline(started + configuration.connectTimeout))
            let took = .now() - started
            meters.createSucceeded.record(took)
            observeEvent?(.clientCreated(backendPID: Int(connection.backendPID), took: took))
            let wasDown = guarded.withLock { guarded in
                guarded.connections[slot] = connection
                return guarded.state.attempts.isDown
            }
            if wasDown { logger.info("database is available again") }
            admit(slot, connection.facts, .now())
            passOn(PooledConnection(slot: slot, connection: connection)) { $0.connected(slot, now: .now()) }
            connection.whenLostWhileIdle { [self] in lostWhileIdle(slot, $0) }
        } catch {
            // The pool ends: that is no failure, and `shutDown` tells those who wait.
            guard !Task.isCancelled else { return guarded.withLock { $0.state.connectAbandoned(slot, now: .now()) } }
            meters.createFailed.record(.now() - started)
            connectFailed(slot, error)
        }
        // Success may leave others waiting. After a failure nothing is opened before the time of the next attempt, for which a timer is set.
        addChore.yield(.connect)
    }

    private func connectFailed(_ slot: PoolState.Slot, _ error: any Error) {
        let now = MonotonicInstant.now()
        // Not the system's generator: it is an empty struct, and the thread sanitizer reports races on its address that are none.
        var generator = SplitMix64(seed: .random(in: 0 ... .max))
        let (refused, unavailable, isNew, next) = guarded.withLock { guarded in
            let wasDown = guarded.state.attempts.isDown
            let refused = guarded.state.connectFailed(slot, cause: "\(error)", error as? PostgresError, now: now, using: &generator)
            let attempts = guarded.state.attempts
            return (refused, attempts.unavailable(now: now), !wasDown && attempts.isDown, attempts.nextAt)
        }
        if let unavailable { refuse(refused, unavailable) }
        if isNew { logUnavailable("\(error)", refused.count) }
        if let next { connect(at: next) }
    }

    /// No connection is open, and an attempt has had no answer for so long that no caller is to wait for it.
    private func noticeSilence() {
        let now = MonotonicInstant.now()
        let (refused, error) = guarded.withLock { guarded -> ([Waiter], PoolError?) in
            guard let refused = guarded.state.noticeSilence(now: now) else { return ([], nil) }
            return (refused, guarded.state.attempts.unavailable(now: now))
        }
        guard let error, case .databaseUnavailable(let cause, _, _) = error else { return }
        refuse(refused, error)
        logUnavailable(cause, refused.count)
    }

    private func refuse(_ waiters: [Waiter], _ error: PoolError) {
        for waiter in waiters { waiter.tell(.failure(error)) }
    }

    private func logUnavailable(_ cause: String, _ refused: Int) {
        guard !Task.isCancelled else { return }
        logger.error("database is unavailable", metadata: ["cause": "\(cause)", "waiters refused": "\(refused)"])
    }

    func connect(at instant: MonotonicInstant) {
        loop.schedule(at: instant) { [addChore] in addChore.yield(.connect) }
    }

    func lostWhileIdle(_ slot: PoolState.Slot, _ connection: PostgresConnection) {
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
            let (closing, leaks, hasLeft) = guarded.withLock { guarded in
                let generation = guarded.state.generation.number
                let closing = guarded.state.sweep(now: now).compactMap { slot, reason in guarded.take(slot).map { ($0, reason) } }
                let leaks = guarded.state.suspectedLeaks(now: now).map { ($0.caller, $0.age, guarded.connections[$0.slot]) }
                return (closing, leaks, guarded.state.generation.number != generation)
            }
            if hasLeft { logLeaving(because: "a new connection led to another server a moment ago", closed: closing.count) }
            for (connection, reason) in closing { close([connection], reason) }
            for (caller, age, connection) in leaks {
                logger.warning("lease held unusually long", metadata: Self.metadata(caller, age, connection))
                meters.leaks.add()
            }
            noticeSilence()
            addChore.yield(.connect)
        }
        addChore.finish()
    }

    static func metadata(_ caller: Caller, _ age: Duration, _ connection: PostgresConnection?) -> Logger.Metadata {
        [
            "purpose": "\(caller.purpose)", "detail": "\(caller.detail ?? "-")", "taken at": "\(caller.site)", "age": "\(age.text)",
            "statement": "\(connection?.activity.statement.map { StatementFingerprint($0).text } ?? "-")",
        ]
    }

    /// A batch has had no answer for `Batcher.stall`: what runs is cancelled, and then all its statements run again, each on a connection of its own.
    private func clear(_ batch: Batch) async {
        let limit = Deadline(.now() + .seconds(1))
        if !batch.isAnswered { await batch.connection.cancel(until: limit) }
        // If the server does not even cancel, nobody waits for it any longer, and `recover` decides about the connection.
        let timer = loop.schedule(at: limit.instant) { batch.giveUp() }
        if batch.cancellationEnded() {
            loop.cancel(timer)
            giveBack(batch)
        }
    }

    /// Called on a thread of the loop when a batch has had no answer for a while. False when the answer has come meanwhile.
    func unblock(_ batch: Batch) -> Bool {
        guard let deadlines = batch.stalled() else { return false }
        for deadline in Set(deadlines) {
            loop.schedule(at: deadline.instant) { [meters] in batch.expire(now: .now(), meters: meters) }
        }
        if case .terminated = addChore.yield(.unblock(batch)) {
            // The pool has ended: nobody is there to cancel it.
            batch.giveUp()
            if batch.cancellationEnded() { giveBack(batch) }
        }
        return true
    }

    private func shutDown() {
        let (connections, refused) = guarded.withLock { guarded in
            let (slots, refused) = guarded.state.shutDown(now: .now())
            return (slots.compactMap { guarded.take($0) }, refused)
        }
        refuse(refused, .shuttingDown)
        close(connections, .shutdown)
    }
}
