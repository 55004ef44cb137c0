import Synchronization
import Vitals

/// Gathers single statements of concurrent callers and sends them together: one round trip, one lease, one Sync for all.
///
/// A statement asked for on the loop's thread is gathered until the end of the loop's turn; elsewhere it leaves at once when no batch is
/// under way, and with the next one otherwise. Each batch is a lease of its own and queues like everybody else, so whoever waits for a
/// connection gets it in turn; what comes while it queues rides with it.
final class Batcher: Sendable {
    private enum Stage {
        case idle
        /// The loop's turn ends soon. Leads to queueing.
        case gathering
        /// The batch waits for a connection, until its first caller's deadline at most. Leads to underWay, or back to idle.
        case queueing(until: Deadline)
        /// Sent; what comes now leaves with the next. Leads to idle, or stalled.
        case underWay
        /// No answer for too long: nothing is gathered until it is cleared. Leads to idle.
        case stalled
    }

    private struct State {
        var plan = BatchPlan()
        var gathered: [Batch.Rider] = []
        var stage = Stage.idle

        mutating func takeGathered() -> [Batch.Rider] {
            defer { gathered = [] }
            plan.left()
            return gathered
        }
    }

    private enum Gathering { case refused, gathered, leave, leaveAtTurnEnd }

    private let state = Mutex(State())
    private let loop: EventLoop
    let batches = Counter()
    let statements = Counter()

    /// A batch without an answer for this long is cancelled, and its statements run alone: one of them is not what it seemed.
    static let stall = Duration.milliseconds(25)

    init(loop: EventLoop) {
        self.loop = loop
    }

    // MARK: Callers

    /// Runs a statement together with others.
    ///
    /// - Returns: how it ended; `alone` when it is not for a batch, and nothing was sent.
    func ride(_ sql: SQL, _ caller: Caller, of pool: Pool) async -> Batch.Landing {
        // The critical class does not wait for anybody, and what nobody waits for must not take the interactive class's turn.
        // What cannot be sent at all must not keep its neighbours from it.
        guard caller.workClass == .interactive, caller.deadline.remaining(at: caller.since) > Self.stall, !sql.hasZeroByte else {
            return .alone
        }
        let seat = Seat()
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                guard seat.take(continuation) else { return continuation.resume(returning: .failure(PoolError.cancelled)) }
                switch gather(Batch.Rider(sql: sql, caller: caller, seat: seat), isOnLoop: loop.isCurrent) {
                case .refused: seat.tell(.alone)
                case .gathered: break
                case .leave: queue(pool)
                case .leaveAtTurnEnd: loop.atTurnEnd { [self] in queue(pool) }
                }
            }
        } onCancel: {
            seat.tell(.failure(PoolError.cancelled))
        }
    }

    private func gather(_ rider: Batch.Rider, isOnLoop: Bool) -> Gathering {
        state.withLock { state in
            switch state.stage {
            case .stalled: return .refused
            // It is told at its first caller's deadline if no connection comes free.
            case .queueing(let end) where rider.caller.deadline < end: return .refused
            case .idle, .gathering, .queueing, .underWay: break
            }
            guard state.plan.admits(rider.sql) else { return .refused }
            state.gathered.append(rider)
            guard case .idle = state.stage else { return .gathered }
            state.stage = .gathering
            return isOnLoop ? .leaveAtTurnEnd : .leave
        }
    }

    /// A statement ran on a connection of its own.
    func ranAlone(_ sql: SQL, took: Duration) {
        state.withLock { $0.plan.ranAlone(sql.text, took.seconds) }
    }

    // MARK: A batch on its way

    private func queue(_ pool: Pool) {
        let (first, hurried) = state.withLock { state -> (Caller?, [Batch.Rider]) in
            guard let first = state.gathered.first?.caller else {
                state.stage = .idle
                return (nil, [])
            }
            // Whoever has less time than the first asks for itself, as those do who come while the batch queues.
            let hurried = state.gathered.filter { $0.caller.deadline < first.deadline }
            if !hurried.isEmpty { state.gathered.removeAll { $0.caller.deadline < first.deadline } }
            state.stage = .queueing(until: first.deadline)
            return (first, hurried)
        }
        if let first { pool.lend(first) { [self] grant in send(grant, pool) } }
        for rider in hurried { rider.seat.tell(.alone) }
    }

    private func send(_ grant: Result<(PoolState.Slot, PostgresConnection), PoolError>, _ pool: Pool) {
        let riders = state.withLock { state in
            if case .success = grant { state.stage = .underWay } else { state.stage = .idle }
            return state.takeGathered()
        }
        let now = MonotonicInstant.now()
        switch grant {
        case .failure(let error):
            for rider in riders {
                let isLate = rider.caller.deadline.hasPassed(at: now)
                if isLate { pool.refused(error, rider.caller, rider.caller.since) }
                // Whoever has time left asks for itself.
                rider.seat.tell(isLate ? .failure(error) : .alone)
            }
        case .success(let (slot, connection)):
            // Nothing is sent for those who have gone, or whose time is up: they learn that where there is no time left for anybody.
            let present = riders.filter { rider in
                if rider.caller.deadline.hasPassed(at: now) { rider.seat.tell(.alone) }
                return rider.seat.isTaken
            }
            guard !present.isEmpty else {
                pool.giveBack(slot, connection, now)
                return proceed(pool)
            }
            send(Batch(present, on: connection, slot: slot, sentAt: now), pool)
        }
    }

    private func send(_ batch: Batch, _ pool: Pool) {
        let timer = loop.schedule(at: batch.sentAt + Self.stall) { [self] in stalled(batch, pool) }
        let isSent = batch.connection.send(batch.riders.map(\.sql)) { [self] answer in
            loop.cancel(timer)
            arrived(batch, answer, pool)
        }
        guard isSent else {
            loop.cancel(timer)
            batch.wasNotSent()
            pool.giveBack(batch)
            return proceed(pool)
        }
        batches.add()
        statements.add(batch.riders.count)
    }

    private func arrived(_ batch: Batch, _ answer: Operation.Answer, _ pool: Pool) {
        let now = MonotonicInstant.now()
        if batch.answered(answer, now: now, meters: pool.meters) { pool.giveBack(batch) }
        learn(from: batch, answer, now: now)
        proceed(pool)
    }

    private func learn(from batch: Batch, _ answer: Operation.Answer, now: MonotonicInstant) {
        let failedAt: Int?
        switch answer.error {
        case nil: failedAt = nil
        case .server: failedAt = answer.rows.count
        // A connection that broke is no text's fault.
        default: return
        }
        let each = (now - batch.sentAt).seconds / Double(batch.riders.count)
        state.withLock { $0.plan.ran(batch.riders.map(\.sql.text), failedAt: failedAt, each: each) }
    }

    /// The connection is back: whoever came meanwhile is next.
    private func proceed(_ pool: Pool) {
        let mustLeave = state.withLock { state in
            state.stage = state.gathered.isEmpty ? .idle : .gathering
            return !state.gathered.isEmpty
        }
        if mustLeave { queue(pool) }
    }

    private func stalled(_ batch: Batch, _ pool: Pool) {
        guard pool.unblock(batch) else { return }
        let waiting = state.withLock { state -> [Batch.Rider] in
            // A statement that could not be sent is answered on its caller's thread, maybe just now: then the next is on its way.
            guard !batch.isAnswered else { return [] }
            state.stage = .stalled
            return state.takeGathered()
        }
        for rider in waiting { rider.seat.tell(.alone) }
    }
}
