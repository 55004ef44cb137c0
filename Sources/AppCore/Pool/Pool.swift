import Glibc
public import Logging
import Synchronization
import Vitals

/// The PostgreSQL connections of this process: who has one, who waits, and the upkeep.
///
/// A caller only ever waits in the queue or for its own statement. Connecting, recovering and retiring belong to `run()`.
public final class Pool: Sendable {
    struct Guarded {
        var state: PoolState
        var connections: [PostgresConnection?]
        /// By the waiter's place in the line.
        var waiting: [Grant?] = []
        var queueTimerAt: MonotonicInstant?
        var pressureTimerArmed = false

        mutating func takeGrant(_ id: PoolState.WaiterID) -> Grant? {
            defer { waiting[id.place] = nil }
            return waiting[id.place]
        }

        /// What is in a slot that has just been leased.
        func granted(_ slot: PoolState.Slot) -> Granted {
            guard let connection = connections[slot] else { preconditionFailure("slot \(slot) is leased but empty") }
            return Granted(slot: slot, connection: connection)
        }
    }

    enum Chore: Sendable {
        /// Something changed that may call for a new connection.
        case connect
        case recover(PoolState.Slot, PostgresConnection)
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
    ///   - onPressure: called from the caller's thread or one of the loop's at each edge; must be quick and must not call back.
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
            // Cancellations, and the names of as many attempts to connect as are under way at once.
            calls: BlockingCalls(limit: configuration.max + configuration.reserved + 2 + 4 * endpoint.namesToResolve, loop: loop),
            prepared: configuration.prepared, onNotices: NoticeLog(logger).log)
        batcher = Batcher(loop: loop, connections: configuration.max)
        let state = PoolState(configuration: configuration, server: endpoint.description, now: .now())
        guarded = Mutex(Guarded(state: state, connections: Array(repeating: nil, count: state.connections.count)))
        (chores, addChore) = AsyncStream.makeStream(of: Chore.self)
        onEvent?(.poolCreated(max: configuration.max, min: configuration.min))
    }

    // MARK: Callers

    /// Runs `body` with a connection and takes it back however `body` ends.
    ///
    /// - Parameter asking: since when the caller asks for a connection; later than `caller.since` when it has tried otherwise before.
    /// - Throws: `PoolError` when there is none by the deadline; whatever `body` throws.
    // Inlined into `Database`: a frame less for each lease.
    @inline(__always)
    func withConnection<Result: Sendable>(
        _ caller: Caller, asking: MonotonicInstant, _ body: (inout Lease) async throws -> Result
    ) async throws -> Result {
        if Task.isCancelled { throw cancelled(caller, asking) }
        // What stands ready costs no call that could suspend.
        let lent = if let ready = take(caller, asking) { ready } else { try await wait(caller, asking) }
        meters.record(lent.hasWaited ? .waited : .immediate, since: asking, now: lent.at)
        observeEvent?(.clientCheckout(purpose: caller.purpose.name, waited: lent.at - asking))
        var lease = Lease(lent.granted.connection, deadline: caller.deadline, meters: meters)
        defer { end(lent.granted.slot, lent.granted.connection, purpose: caller.purpose, granted: lent.at) }
        return try await body(&lease)
    }

    /// Not inlined: it is not the usual way.
    @inline(never)
    private func cancelled(_ caller: Caller, _ asking: MonotonicInstant) -> PoolError {
        refused(.cancelled, caller, asking)
        return .cancelled
    }

    private struct Lent {
        var granted: Granted
        var at: MonotonicInstant
        var hasWaited = false
    }

    /// A connection that stands ready; nil when the caller has to wait. One that broke in the instant before costs it no error.
    private func take(_ caller: Caller, _ asking: MonotonicInstant) -> Lent? {
        var now = asking
        while true {
            let ready = guarded.withLock { guarded in guarded.state.takeIdle(caller, now: now).map { guarded.granted($0) } }
            guard let ready else { return nil }
            // Granted in the instant in which it asked: the clock need not be read again.
            guard ready.connection.isLost else { return Lent(granted: ready, at: now) }
            now = .now()
            giveBack(ready.slot, ready.connection, now)
        }
    }

    /// A connection for a batch: `body` gets it at once, or in its turn, or learns why there is none.
    func lend(_ caller: Caller, _ body: @escaping @Sendable (Swift.Result<Granted, PoolError>) -> Void) {
        let waiter = Mutex<PoolState.WaiterID?>(nil)
        enqueue(caller, waiter, Grant { [self] result in
            if case .success = result {
                let now = MonotonicInstant.now()
                meters.record(waiter.withLock { $0 } == nil ? .immediate : .waited, since: caller.since, now: now)
                observeEvent?(.clientCheckout(purpose: caller.purpose.name, waited: now - caller.since))
            }
            body(result)
        })
    }

    /// Counts a refusal, and tells who has to know.
    func refused(_ error: PoolError, _ caller: Caller, _ asking: MonotonicInstant) {
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
    }

    private func wait(_ caller: Caller, _ asking: MonotonicInstant) async throws -> Lent {
        while true {
            let lent = Lent(granted: try await turn(of: caller, asking), at: .now(), hasWaited: true)
            guard lent.granted.connection.isLost else { return lent }
            giveBack(lent.granted.slot, lent.granted.connection, lent.at)
        }
    }

    /// Queues until it is the caller's turn.
    private func turn(of caller: Caller, _ asking: MonotonicInstant) async throws -> Granted {
        let waiter = Mutex<PoolState.WaiterID?>(nil)
        do {
            return try await withTaskCancellationHandler {
                try await withCheckedThrowingContinuation { enqueue(caller, waiter, Grant($0)) }
            } onCancel: {
                let grant = withQueue { guarded -> Grant? in
                    guard let id = waiter.withLock({ $0 }), guarded.state.leave(id, now: .now()) != nil else { return nil }
                    return guarded.takeGrant(id)
                }
                grant?.tell(.failure(.cancelled))
            }
        } catch {
            if let error = error as? PoolError { refused(error, caller, asking) }
            throw error
        }
    }

    private func enqueue(_ caller: Caller, _ waiter: borrowing Mutex<PoolState.WaiterID?>, _ grant: Grant) {
        enum Next { case tell(Swift.Result<Granted, PoolError>), waiting(isFirst: Bool, wantsConnection: Bool) }
        let now = MonotonicInstant.now()
        let next = guarded.withLock { guarded -> Next in
            // A cancellation that came before the waiter was stored found nothing to cancel.
            if grant.isTask, Task.isCancelled { return .tell(.failure(.cancelled)) }
            switch guarded.state.checkout(caller, now: now) {
            case .lease(let slot): return .tell(.success(guarded.granted(slot)))
            case .refuse(let error): return .tell(.failure(error))
            case .wait:
                let id = guarded.state.enqueue(caller, now: now)
                waiter.withLock { $0 = id }
                while guarded.waiting.count <= id.place { guarded.waiting.append(nil) }
                guarded.waiting[id.place] = grant
                armQueueTimer(&guarded, caller.deadline)
                armPressureTimer(&guarded, since: caller.since)
                return .waiting(isFirst: guarded.state.waiting == 1, wantsConnection: guarded.state.connectsWanted(now: now) > 0)
            }
        }
        switch next {
        case .tell(let result): grant.tell(result)
        case .waiting(let isFirst, let wantsConnection):
            if isFirst { observePressure(.firstWaiter) }
            if wantsConnection { addChore.yield(.connect) }
        }
    }

    private func end(_ slot: PoolState.Slot, _ connection: PostgresConnection, purpose: Purpose, granted: MonotonicInstant) {
        let now = MonotonicInstant.now()
        giveBack(slot, connection, now)
        meters.use.record(nanoseconds: now.nanoseconds(since: granted))
        observeEvent?(.clientRelease(purpose: purpose.name, held: now - granted))
    }

    /// The connection of a batch that has been answered.
    func giveBack(_ batch: Batch) {
        guard let first = batch.riders.first else { return }
        end(batch.slot, batch.connection, purpose: first.caller.purpose, granted: batch.sentAt)
    }

    func giveBack(_ slot: PoolState.Slot, _ connection: PostgresConnection, _ now: MonotonicInstant) {
        var (reusable, lost) = (false, false)
        switch connection.condition {
        case .reusable: reusable = true
        case .needsRecovery, .sessionChanged: break
        case .lost: lost = true
        case .demoted(let reason):
            lost = true
            endGeneration(of: slot, because: reason, now)
        }
        var suspect: (caller: Caller, age: Duration)?
        settle(slot, connection, closing: lost ? .error : .lifetime) { [reusable, lost] state in
            // Asked first: to call it copies the whole state.
            if state.connections[slot].reportedAsLeak { suspect = state.suspect(slot, now: now) }
            return state.giveBack(slot, reusable: reusable, lost: lost, now: now)
        }
        if let suspect {
            meters.leaksReturned.add()
            logger.warning("lease came back after all", metadata: Self.metadata(suspect.caller, suspect.age, connection))
        }
    }

    /// For what may take the last waiter out of the queue: tells that it is empty again.
    func withQueue<Value>(_ body: (inout Guarded) -> sending Value) -> sending Value {
        let (value, isEmptied) = guarded.withLock { guarded in
            let hadWaiters = guarded.state.waiting > 0
            let value = body(&guarded)
            return (value, hadWaiters && guarded.state.waiting == 0)
        }
        if isEmptied { observePressure(.relieved) }
        return value
    }

    /// Carries out what the state decides about a connection that has come free.
    func settle(
        _ slot: PoolState.Slot, _ connection: PostgresConnection, closing reason: PoolCloseReason,
        _ decide: (inout PoolState) -> PoolState.GiveBack
    ) {
        let (next, grant, other, isLeftBehind) = withQueue { guarded in
            let isLeftBehind = guarded.state.isLeftBehind(slot)
            let next = decide(&guarded.state)
            var grant: Grant?
            var other: (grant: Grant, granted: Granted)?
            switch next {
            case .park: break
            case .hand(let id): grant = guarded.takeGrant(id)
            case .close, .recover, .retire:
                if case .close = next { guarded.connections[slot] = nil }
                if let (slot, id) = guarded.state.serveFromIdle(now: .now()) {
                    other = guarded.takeGrant(id).map { ($0, guarded.granted(slot)) }
                }
            }
            return (next, grant, other, isLeftBehind)
        }
        switch next {
        // Its server may have gone after it was looked at, and before it was idle: then nobody was told.
        case .park: if connection.isLost { lostWhileIdle(slot, connection) }
        case .hand: grant?.tell(.success(Granted(slot: slot, connection: connection)))
        case .recover:
            // When the pool has ended nobody clears it any more.
            if case .terminated = addChore.yield(.recover(slot, connection)) {
                settle(slot, connection, closing: .shutdown) { $0.recovered(slot, usable: false, now: .now()) }
            }
        case .close:
            connection.close()
            meters.closed.add(for: isLeftBehind ? .failover : reason)
            addChore.yield(.connect)
        case .retire(let turn):
            if let turn { retire(at: turn) }
        }
        if let other { other.grant.tell(.success(other.granted)) }
    }
}
