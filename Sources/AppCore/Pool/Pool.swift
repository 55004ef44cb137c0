import Glibc
public import Logging
import Synchronization
import Vitals

/// The PostgreSQL connections of this process: who has one, who waits, and the upkeep.
///
/// A caller only ever waits in the queue or for its own statement. Connecting, recovering and retiring belong to `run()`.
public final class Pool: Sendable {
    private struct Guarded {
        var state: PoolState
        var connections: [PostgresConnection?]
        var waiting: [PoolState.WaiterID: CheckedContinuation<PoolState.Slot, any Error>] = [:]
        var nextWaiter = 0
        var queueTimerAt: MonotonicInstant?
        var pressureTimerArmed = false
    }

    private enum Chore: Sendable {
        /// Something changed that may call for a new connection.
        case connect
        case recover(PoolState.Slot, PostgresConnection)
    }

    public let configuration: PoolConfiguration
    private let guarded: Mutex<Guarded>
    private let connector: PostgresConnector
    private let loop: EventLoop
    private let logger: Logging.Logger
    private let meters = PoolMeters()
    private let observePressure: @Sendable (PoolPressure) -> Void
    private let observeEvent: (@Sendable (PoolEvent) -> Void)?
    private let chores: AsyncStream<Chore>
    private let addChore: AsyncStream<Chore>.Continuation

    /// A caller that has queued this long is not part of a passing burst.
    static let sustainedWait = Duration.milliseconds(250)

    /// - Parameters:
    ///   - onPressure: called from the caller's or the loop's thread at each edge; must be quick and must not call back.
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
            endpoint: endpoint, applicationName: "healthd", loop: loop, calls: BlockingCalls(limit: configuration.max + 2, loop: loop))
        guarded = Mutex(
            Guarded(
                state: PoolState(configuration: configuration, now: .now()),
                connections: Array(repeating: nil, count: configuration.max)))
        (chores, addChore) = AsyncStream.makeStream(of: Chore.self)
        onEvent?(.poolCreated(max: configuration.max, min: configuration.min))
    }

    // MARK: Callers

    /// Runs `body` with a connection and takes it back however `body` ends.
    ///
    /// - Throws: `PoolError` when there is none by the deadline; whatever `body` throws.
    func withConnection<Result: Sendable>(
        for purpose: Purpose, until deadline: Deadline, site: CallSite, _ body: (inout Lease) async throws -> Result
    ) async throws -> Result {
        let asked = MonotonicInstant.now()
        let (slot, connection) = try await checkout(purpose, deadline, site, asked)
        let granted = MonotonicInstant.now()
        observeEvent?(.clientCheckout(purpose: purpose.name, waited: granted - asked))
        var lease = Lease(connection, deadline: deadline, meters: meters)
        defer {
            let now = MonotonicInstant.now()
            giveBack(slot, connection, now)
            meters.use.record(now - granted)
            observeEvent?(.clientRelease(purpose: purpose.name, held: now - granted))
        }
        return try await body(&lease)
    }

    private func checkout(
        _ purpose: Purpose, _ deadline: Deadline, _ site: CallSite, _ asked: MonotonicInstant
    ) async throws -> (PoolState.Slot, PostgresConnection) {
        let detail = Work.detail
        enum First { case leased(PoolState.Slot, PostgresConnection), refused(PoolError), wait(PoolState.WaiterID) }
        let first = guarded.withLock { guarded -> First in
            switch guarded.state.checkout(purpose, detail: detail, site: site, deadline: deadline, now: asked) {
            case .lease(let slot):
                guard let connection = guarded.connections[slot] else { preconditionFailure("slot \(slot) is leased but empty") }
                return .leased(slot, connection)
            case .refuse(let error): return .refused(error)
            case .wait:
                guarded.nextWaiter += 1
                return .wait(guarded.nextWaiter)
            }
        }
        switch first {
        case .leased(let slot, let connection):
            meters.acquire[.immediate]?.record(.now() - asked)
            return (slot, connection)
        case .refused(let error):
            meters.acquire[error.isUnavailable ? .unavailable : .refused]?.record(.now() - asked)
            throw error
        case .wait(let id):
            let waiter = PoolState.Waiter(purpose: purpose, detail: detail, site: site, since: asked, deadline: deadline)
            let slot = try await wait(id, waiter)
            guard let connection = guarded.withLock({ $0.connections[slot] }) else { preconditionFailure("slot \(slot) was granted but is empty") }
            return (slot, connection)
        }
    }

    private func wait(_ id: PoolState.WaiterID, _ waiter: PoolState.Waiter) async throws -> PoolState.Slot {
        do {
            let slot = try await withTaskCancellationHandler {
                try await withCheckedThrowingContinuation { continuation in
                    enqueue(id, waiter, continuation)
                }
            } onCancel: {
                let continuation = guarded.withLock { guarded -> CheckedContinuation<PoolState.Slot, any Error>? in
                    guard guarded.state.leave(id, now: .now()) != nil else { return nil }
                    return guarded.waiting.removeValue(forKey: id)
                }
                continuation?.resume(throwing: PoolError.cancelled)
            }
            meters.acquire[.waited]?.record(.now() - waiter.since)
            return slot
        } catch {
            let outcome: PoolAcquireOutcome =
                switch error {
                case PoolError.cancelled, PoolError.shuttingDown: .cancelled
                case PoolError.databaseUnavailable: .unavailable
                default: .timeout
                }
            meters.acquire[outcome]?.record(.now() - waiter.since)
            throw error
        }
    }

    private func enqueue(_ id: PoolState.WaiterID, _ waiter: PoolState.Waiter, _ continuation: CheckedContinuation<PoolState.Slot, any Error>) {
        enum Next { case resume(Swift.Result<PoolState.Slot, any Error>), waiting(isFirst: Bool) }
        let now = MonotonicInstant.now()
        let next = guarded.withLock { guarded -> Next in
            // A cancellation that came before the waiter was stored found nothing to cancel.
            if Task.isCancelled { return .resume(.failure(PoolError.cancelled)) }
            switch guarded.state.checkout(waiter.purpose, detail: waiter.detail, site: waiter.site, deadline: waiter.deadline, now: now) {
            case .lease(let slot): return .resume(.success(slot))
            case .refuse(let error): return .resume(.failure(error))
            case .wait:
                guarded.state.enqueue(id, waiter, now: now)
                guarded.waiting[id] = continuation
                armQueueTimer(&guarded, waiter.deadline)
                armPressureTimer(&guarded, since: waiter.since)
                return .waiting(isFirst: guarded.state.waiting == 1)
            }
        }
        switch next {
        case .resume(let result): continuation.resume(with: result)
        case .waiting(let isFirst):
            addChore.yield(.connect)
            if isFirst { observePressure(.firstWaiter) }
        }
    }

    private func giveBack(_ slot: PoolState.Slot, _ connection: PostgresConnection, _ now: MonotonicInstant) {
        let condition = connection.condition
        let reusable = if case .reusable = condition { true } else { false }
        let lost = if case .lost = condition { true } else { false }
        settle(slot, connection, closing: lost ? .error : .lifetime) { $0.giveBack(slot, reusable: reusable, lost: lost, now: now) }
    }

    /// Carries out what the state decides about a connection that has come free.
    private func settle(
        _ slot: PoolState.Slot, _ connection: PostgresConnection, closing reason: PoolCloseReason,
        _ decide: (inout PoolState) -> PoolState.GiveBack
    ) {
        let (next, continuation, relieved) = guarded.withLock { guarded in
            let hadWaiters = guarded.state.waiting > 0
            let next = decide(&guarded.state)
            var continuation: CheckedContinuation<PoolState.Slot, any Error>?
            switch next {
            case .hand(let id): continuation = guarded.waiting.removeValue(forKey: id)
            case .close: guarded.connections[slot] = nil
            case .park, .recover: break
            }
            return (next, continuation, hadWaiters && guarded.state.waiting == 0)
        }
        switch next {
        case .park: break
        case .hand: continuation?.resume(returning: slot)
        case .recover: addChore.yield(.recover(slot, connection))
        case .close:
            connection.close()
            meters.closed.add(for: reason)
            addChore.yield(.connect)
        }
        if relieved { observePressure(.relieved) }
    }

    // MARK: Deadlines of the queue

    private func armQueueTimer(_ guarded: inout Guarded, _ deadline: Deadline) {
        guard deadline.instant.nanoseconds < (guarded.queueTimerAt?.nanoseconds ?? .max) else { return }
        guarded.queueTimerAt = deadline.instant
        loop.schedule(at: deadline.instant) { [weak self] in self?.expireWaiters() }
    }

    private func expireWaiters() {
        let now = MonotonicInstant.now()
        let refused = guarded.withLock { guarded -> [(CheckedContinuation<PoolState.Slot, any Error>, PoolError)] in
            if let at = guarded.queueTimerAt, at > now { return [] }
            guarded.queueTimerAt = nil
            // The picture is taken before they leave: it shows the queue they stood in.
            let errors = guarded.state
            let expired = guarded.state.expire(now: now)
            if let next = guarded.state.earliestDeadline { armQueueTimer(&guarded, next) }
            return expired.compactMap { id, waiter in
                guarded.waiting.removeValue(forKey: id).map { ($0, errors.saturated(waited: now - waiter.since, now: now)) }
            }
        }
        for (continuation, error) in refused { continuation.resume(throwing: error) }
        if !refused.isEmpty { observePressure(.queueDeadline) }
    }

    private func armPressureTimer(_ guarded: inout Guarded, since: MonotonicInstant) {
        guard !guarded.pressureTimerArmed else { return }
        guarded.pressureTimerArmed = true
        loop.schedule(at: since + Self.sustainedWait) { [weak self] in self?.checkPressure() }
    }

    private func checkPressure() {
        let now = MonotonicInstant.now()
        let sustained = guarded.withLock { guarded in
            guarded.pressureTimerArmed = false
            guard let oldest = guarded.state.oldestWaiterSince else { return false }
            if now - oldest >= Self.sustainedWait { return true }
            armPressureTimer(&guarded, since: oldest)
            return false
        }
        if sustained { observePressure(.sustained) }
    }

    // MARK: Upkeep

    /// Opens, recovers and retires connections until cancelled; then refuses newcomers and waits up to `grace` for leases to end.
    public func run(grace: Duration = .seconds(5)) async {
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

    // MARK: What it looks like

    /// A lock and a copy.
    public func statistics() -> PoolStatistics {
        let now = MonotonicInstant.now()
        let (state, counts) = guarded.withLock { guarded in
            guarded.state.advance(to: now)
            defer { guarded.state.resetPeak() }
            return (guarded.state, guarded.state.counts())
        }
        let unavailable: (String, Duration)? =
            if case .down(let cause, let since) = state.availability { (cause, now - since) } else { nil }
        return PoolStatistics(
            max: configuration.max, min: configuration.min, idle: counts.idle, leased: counts.leased, connecting: counts.connecting,
            recovering: counts.recovering, waiting: state.waiting, waitingPeak: state.tallies.peakWaiting,
            oldestWait: state.oldestWaiterSince.map { now - $0 },
            oldestLeaseAge: state.leases.map(\.record.since).min().map { now - $0 },
            unavailable: unavailable, busySeconds: state.tallies.busy.seconds, exhaustedSeconds: state.tallies.exhausted.seconds,
            opened: state.tallies.opened, closed: meters.closed.values, leaksSuspected: meters.leaks.value,
            acquire: meters.acquire.mapValues { $0.snapshot() }, use: meters.use.snapshot(),
            createSucceeded: meters.createSucceeded.snapshot(), createFailed: meters.createFailed.snapshot(),
            query: meters.query.mapValues { $0.snapshot() }, queryErrorsBySQLStateClass: meters.queryErrors.values)
    }

    public func holders() -> PoolHolders {
        let now = MonotonicInstant.now()
        let (leases, waiters) = guarded.withLock { guarded in
            (guarded.state.leases.map { ($0.record, guarded.connections[$0.slot]) }, guarded.state.waitersInOrder)
        }
        return PoolHolders(
            holders: leases.sorted { $0.0.since < $1.0.since }.map { record, connection in
                let activity = connection?.activity
                let fingerprint = activity?.statement.map { StatementFingerprint($0) }
                return PoolHolders.Holder(
                    purpose: record.purpose.name, detail: record.detail, statement: fingerprint?.text, fingerprint: fingerprint?.mark,
                    callSite: "\(record.site)", age: now - record.since, inTransaction: activity?.inTransaction ?? false,
                    backendPID: Int(connection?.backendPID ?? 0))
            },
            waiters: waiters.map {
                PoolHolders.Waiter(
                    purpose: $0.purpose.name, detail: $0.detail, callSite: "\($0.site)", age: now - $0.since,
                    deadlineIn: $0.deadline.remaining(at: now))
            })
    }
}

extension PoolError {
    fileprivate var isUnavailable: Bool { if case .databaseUnavailable = self { true } else { false } }
}
