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
        var waiting: [PoolState.WaiterID: CheckedContinuation<PoolState.Slot, any Error>] = [:]
        var nextWaiter = 0
        var queueTimerAt: MonotonicInstant?
        var pressureTimerArmed = false
    }

    enum Chore: Sendable {
        /// Something changed that may call for a new connection.
        case connect
        case recover(PoolState.Slot, PostgresConnection)
    }

    public let configuration: PoolConfiguration
    let guarded: Mutex<Guarded>
    let connector: PostgresConnector
    let loop: EventLoop
    let logger: Logging.Logger
    let meters = PoolMeters()
    private let observePressure: @Sendable (PoolPressure) -> Void
    let observeEvent: (@Sendable (PoolEvent) -> Void)?
    let chores: AsyncStream<Chore>
    let addChore: AsyncStream<Chore>.Continuation

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
            endpoint: endpoint, applicationName: "healthd", loop: loop, calls: BlockingCalls(limit: configuration.max + 2, loop: loop),
            prepared: configuration.prepared)
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
        let lost =
            switch condition {
            case .lost, .demoted: true
            case .reusable, .needsRecovery, .sessionChanged: false
            }
        if case .demoted(let reason) = condition { endGeneration(of: slot, because: reason, now) }
        settle(slot, connection, closing: lost ? .error : .lifetime) { $0.giveBack(slot, reusable: reusable, lost: lost, now: now) }
    }

    /// Carries out what the state decides about a connection that has come free.
    func settle(
        _ slot: PoolState.Slot, _ connection: PostgresConnection, closing reason: PoolCloseReason,
        _ decide: (inout PoolState) -> PoolState.GiveBack
    ) {
        let (next, continuation, relieved, isLeftBehind) = guarded.withLock { guarded in
            let isLeftBehind = guarded.state.isLeftBehind(slot)
            let hadWaiters = guarded.state.waiting > 0
            let next = decide(&guarded.state)
            var continuation: CheckedContinuation<PoolState.Slot, any Error>?
            switch next {
            case .hand(let id): continuation = guarded.waiting.removeValue(forKey: id)
            case .close: guarded.connections[slot] = nil
            case .park, .recover: break
            }
            return (next, continuation, hadWaiters && guarded.state.waiting == 0, isLeftBehind)
        }
        switch next {
        case .park: break
        case .hand: continuation?.resume(returning: slot)
        case .recover: addChore.yield(.recover(slot, connection))
        case .close:
            connection.close()
            meters.closed.add(for: isLeftBehind ? .failover : reason)
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
}

extension PoolError {
    fileprivate var isUnavailable: Bool { if case .databaseUnavailable = self { true } else { false } }
}
