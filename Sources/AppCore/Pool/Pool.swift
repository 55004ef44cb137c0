import Glibc
public import Logging
import Synchronization
import Vitals

/// The PostgreSQL connections of this process: who has one, who waits, and the upkeep.
///
/// A caller only ever waits in the queue or for its own statement. Connections are opened and recovered by `run()`.
public final class Pool: Sendable {
    /// What the lock guards: the state, and the connections and timers that belong to it.
    struct Guarded {
        var state: PoolState
        /// By slot.
        var connections: [PostgresConnection?]
        var queueTimer = EarliestTimer()
        var pressureTimerArmed = false

        /// The connection in a slot that has just been leased.
        func pooled(_ slot: PoolState.Slot) -> PooledConnection {
            guard let connection = connections[slot] else { preconditionFailure("slot \(slot) is leased but empty") }
            return PooledConnection(slot: slot, connection: connection)
        }

        /// Takes the connection out of a slot that the state has emptied.
        mutating func take(_ slot: PoolState.Slot) -> PostgresConnection? {
            defer { connections[slot] = nil }
            return connections[slot]
        }
    }

    enum Chore: Sendable {
        /// Something changed that may call for a new connection.
        case connect
        case recover(PooledConnection)
        case unblock(Batch)
    }

    public let configuration: PoolConfiguration
    let guarded: Mutex<Guarded>
    let connector: PostgresConnector
    let loop: EventLoop
    let logger: Logging.Logger
    let meters = PoolMeters()
    let batcher: Batcher
    let observePressure: @Sendable (PoolPressure) -> Void
    let observeEvent: (@Sendable (PoolEvent) -> Void)?
    let chores: AsyncStream<Chore>
    let addChore: AsyncStream<Chore>.Continuation

    /// A caller that has queued this long is not part of a passing burst.
    static let sustainedWait = Duration.milliseconds(250)

    /// - Parameters:
    ///   - onPressure: called on whichever thread causes the pressure; must be quick and must not call the pool.
    ///   - onEvent: the application's four events; must be quick.
    public init(
        _ configuration: PoolConfiguration, endpoint: PostgresEndpoint, loop: EventLoop, logger: Logging.Logger,
        onPressure: @escaping @Sendable (PoolPressure) -> Void = { _ in },
        onEvent: (@Sendable (PoolEvent) -> Void)? = nil
    ) {
        self.configuration = configuration
        self.loop = loop
        self.logger = logger
        observePressure = onPressure
        observeEvent = onEvent
        connector = PostgresConnector(
            endpoint: endpoint, applicationName: "healthd", loop: loop,
            // Room for one cancel request per connection and two more, and for the name look-ups of four attempts to connect.
            calls: BlockingCalls(limit: configuration.max + configuration.reserved + 2 + 4 * endpoint.namesToResolve, loop: loop),
            prepared: configuration.prepared, onNotices: NoticeLog(logger).log)
        batcher = Batcher(loop: loop, connections: configuration.max)
        let state = PoolState(configuration: configuration, server: endpoint.description, hosts: endpoint.hosts, now: .now())
        guarded = Mutex(Guarded(state: state, connections: Array(repeating: nil, count: state.connections.count)))
        (chores, addChore) = AsyncStream.makeStream(of: Chore.self)
        onEvent?(.poolCreated(max: configuration.max, min: configuration.min))
    }

    // MARK: A caller comes

    /// Runs `body` with a connection and takes it back however `body` ends.
    ///
    /// - Parameter asking: when the caller began to ask for this connection. Later than `caller.since` after a batch or a conflict.
    /// - Throws: `PoolError` when there is none by the deadline; whatever `body` throws.
    // Inlined into `Database`, as is `checkout`: two frames less for each lease.
    @inline(__always)
    func withConnection<Result: Sendable>(
        _ caller: Caller, asking: MonotonicInstant, _ body: (inout Lease) async throws -> Result
    ) async throws -> Result {
        let (pooled, since) = try await checkout(caller, asking: asking)
        var lease = Lease(pooled.connection, deadline: caller.deadline, meters: meters)
        defer { end(pooled, purpose: caller.purpose, since: since) }
        return try await body(&lease)
    }

    /// A connection for the caller.
    ///
    /// 1. An idle connection is leased at once. Without one the caller is refused, or enters the queue (`PoolState.checkout`).
    /// 2. A connection that is given back, recovered or newly opened goes to the next in the queue that may have it (`passOn`). When a caller
    ///    enters the queue and the pool may grow, a new connection is asked for; `run` opens it.
    /// 3. The wait also ends at the caller's deadline (`expireWaiters`), when the caller is cancelled, when the database turns out to be down
    ///    (`refuse`), and when the pool ends.
    /// 4. A leased connection that turns out to be lost is given back, and the caller begins anew, at the end of the queue.
    ///
    /// - Returns: the connection, and since when the caller has it.
    @inline(__always)
    private func checkout(
        _ caller: Caller, asking: MonotonicInstant
    ) async throws(PoolError) -> (PooledConnection, since: MonotonicInstant) {
        if Task.isCancelled { throw counted(.cancelled, caller, asking) }
        // A connection leased at once has waited nothing: the clock is not read again.
        var (now, hasWaited) = (asking, false)
        while true {
            let pooled: PooledConnection
            switch leaseOrEnqueue(caller, since: asking, now) {
            case .lease(let idle): pooled = idle
            case .refuse(let error): throw counted(error, caller, asking)
            case .wait(let waiter):
                switch await answer(to: waiter) {
                case .success(let handed): pooled = handed
                case .failure(let error): throw counted(error, caller, asking)
                }
                (now, hasWaited) = (.now(), true)
            }
            if !pooled.connection.isLost {
                countCheckout(caller, hasWaited: hasWaited, asking: asking, now: now)
                return (pooled, now)
            }
            now = .now()
            giveBack(pooled, now)
        }
    }

    /// The checkout of a batch, which no task waits for. `body` gets the connection, now or when one comes free, or the reason why there is none.
    /// The batch itself finds out whether its connection was lost, and counts the callers that are refused.
    func checkout(_ caller: Caller, _ body: @escaping @Sendable (Waiter.Answer) -> Void) {
        let now = MonotonicInstant.now()
        switch leaseOrEnqueue(caller, since: now, now) {
        case .lease(let idle):
            countCheckout(caller, hasWaited: false, asking: caller.since, now: now)
            body(.success(idle))
        case .refuse(let error): body(.failure(error))
        case .wait(let waiter):
            waiter.whenTold { [self] answer in
                if case .success = answer { countCheckout(caller, hasWaited: true, asking: caller.since, now: .now()) }
                body(answer)
            }
        }
    }

    private enum Decision {
        case lease(PooledConnection)
        case wait(Waiter)
        case refuse(PoolError)
    }

    /// What the state decides about a newcomer. One that is to wait is in the queue, and its timers are set, when this returns.
    private func leaseOrEnqueue(_ caller: Caller, since: MonotonicInstant, _ now: MonotonicInstant) -> Decision {
        let (decision, wantsConnection) = guarded.withLock { guarded -> (Decision, Bool) in
            switch guarded.state.checkout(caller, since: since, now: now) {
            case .lease(let slot): return (.lease(guarded.pooled(slot)), false)
            case .refuse(let error): return (.refuse(error), false)
            case .wait(let waiter):
                armQueueTimer(&guarded, caller.deadline)
                armPressureTimer(&guarded, since: since)
                return (.wait(waiter), guarded.state.connectsWanted(now: now) > 0)
            }
        }
        if wantsConnection { addChore.yield(.connect) }
        return decision
    }

    /// Waits for the answer. A caller that is cancelled leaves the queue.
    private func answer(to waiter: Waiter) async -> Waiter.Answer {
        await withTaskCancellationHandler {
            await withCheckedContinuation { waiter.listen($0) }
        } onCancel: {
            if guarded.withLock({ $0.state.leave(waiter, now: .now()) }) { waiter.tell(.failure(.cancelled)) }
        }
    }

    private func countCheckout(_ caller: Caller, hasWaited: Bool, asking: MonotonicInstant, now: MonotonicInstant) {
        meters.record(hasWaited ? .waited : .immediate, since: asking, now: now)
        observeEvent?(.clientCheckout(purpose: caller.purpose.name, waited: now - asking))
    }

    /// Counts a refusal and reports the pressure. While the database is down, the next attempt to connect comes sooner.
    // Not inlined: it is rare.
    @inline(never) @discardableResult
    func counted(_ error: PoolError, _ caller: Caller, _ asking: MonotonicInstant) -> PoolError {
        let now = MonotonicInstant.now()
        switch error {
        case .saturated(_, _, _, let reason):
            meters.record(reason == .expired ? .timeout : .refused, since: asking, now: now)
            meters.shed.add(for: ShedKey(workClass: caller.workClass, reason: reason))
            if reason != .expired { observePressure(.refused) }
        case .databaseUnavailable:
            meters.record(.unavailable, since: asking, now: now)
            if let sooner = guarded.withLock({ $0.state.hastenConnect(now: now) }) { connect(at: sooner) }
        case .shuttingDown, .cancelled: meters.record(.cancelled, since: asking, now: now)
        }
        return error
    }

    // MARK: A connection comes free

    func end(_ pooled: PooledConnection, purpose: Purpose, since: MonotonicInstant) {
        let now = MonotonicInstant.now()
        giveBack(pooled, now)
        meters.use.record(nanoseconds: now.nanoseconds(since: since))
        observeEvent?(.clientRelease(purpose: purpose.name, held: now - since))
    }

    /// The connection of a batch that has been answered.
    func giveBack(_ batch: Batch) {
        end(batch.pooled, purpose: batch.purpose, since: batch.sentAt)
    }

    func giveBack(_ pooled: PooledConnection, _ now: MonotonicInstant) {
        let slot = pooled.slot
        var (reusable, lost) = (false, false)
        switch pooled.connection.condition {
        case .reusable: reusable = true
        case .needsRecovery, .sessionChanged: break
        case .lost: lost = true
        case .demoted(let reason):
            lost = true
            endGeneration(of: slot, because: reason, now)
        }
        var suspect: (caller: Caller, age: Duration)?
        passOn(pooled) { [reusable, lost] state in
            // The flag is looked at first: few leases were reported, and only for them `suspect` is called.
            if state.connections[slot].reportedAsLeak { suspect = state.suspect(slot, now: now) }
            return state.giveBack(slot, reusable: reusable, lost: lost, now: now)
        }
        if let suspect {
            meters.leaksReturned.add()
            logger.warning("lease came back after all", metadata: Self.metadata(suspect.caller, suspect.age, pooled.connection))
        }
    }

    /// Lets the state decide about a connection that has come free, and does it.
    func passOn(_ pooled: PooledConnection, _ decide: (inout PoolState) -> PoolState.NextStep) {
        let (slot, connection) = (pooled.slot, pooled.connection)
        let (next, other) = guarded.withLock { guarded in
            let next = decide(&guarded.state)
            var other: (waiter: Waiter, idle: PooledConnection)?
            switch next {
            case .park, .hand: break
            case .close, .recover, .retire:
                if case .close = next { guarded.connections[slot] = nil }
                if let (slot, waiter) = guarded.state.serveFromIdle(now: .now()) { other = (waiter, guarded.pooled(slot)) }
            }
            return (next, other)
        }
        switch next {
        // Its server may have closed it after `condition` was read. Then `lostWhileIdle` was called while it was still leased, and did nothing.
        case .park: if connection.isLost { lostWhileIdle(slot, connection) }
        case .hand(let waiter): waiter.tell(.success(pooled))
        case .recover:
            // The pool has ended, and nobody recovers connections any more.
            if case .terminated = addChore.yield(.recover(pooled)) {
                passOn(pooled) { $0.recovered(slot, usable: false, now: .now()) }
            }
        case .close(let reason):
            close([connection], reason)
            addChore.yield(.connect)
        case .retire(let instant):
            if let instant { retire(at: instant) }
        }
        if let other { other.waiter.tell(.success(other.idle)) }
    }

    func close(_ connections: [PostgresConnection], _ reason: PoolCloseReason) {
        for connection in connections {
            connection.close()
            meters.closed.add(for: reason)
        }
    }
}
