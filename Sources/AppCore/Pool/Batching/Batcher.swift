import Synchronization
import Vitals

/// Gathers single statements of concurrent callers and sends them together: one round trip, one lease, one Sync for all.
///
/// While a batch is under way, statements are gathered until there are enough for a second one, or until the first returns (`BatchLanes`). While
/// none is under way, a statement leaves at once. If it was asked for on a thread of the loop, it leaves at the end of that thread's turn, with
/// all that was gathered until then. Each batch has a lease of its own and queues for it like any caller. What comes while it queues rides with it.
final class Batcher: Sendable {
    /// What is planned for the batch that is being gathered.
    private enum Departure {
        /// Nothing is planned: it leaves when there are enough statements, or when another batch returns.
        case waiting
        /// It leaves now, or at the end of a turn of the loop. Leads to queueing, or to waiting when nobody is there to ride.
        case turnEnd
        /// The batch waits for a connection, until its first caller's deadline at most. Leads to waiting.
        case queueing(until: Deadline)
    }

    private struct State {
        var plan = BatchPlan()
        var lanes: BatchLanes
        var gathered: [Batch.Rider] = []
        var departure = Departure.waiting
        /// Batches without an answer for too long: nothing is gathered until they are cleared.
        var stalled: Set<ObjectIdentifier> = []

        /// Those who leave now, in order of arrival.
        mutating func take(_ count: Int) -> [Batch.Rider] {
            guard count < gathered.count else {
                plan.left(plan.count)
                defer { gathered = [] }
                return gathered
            }
            plan.left(count)
            defer { gathered.removeFirst(count) }
            return Array(gathered.prefix(count))
        }
    }

    private enum Gathering { case refused, gathered, leave, leaveAtTurnEnd }

    private let state: Mutex<State>
    private let loop: EventLoop
    let batches = Counter()
    let statements = Counter()

    /// A batch without an answer for this long is cancelled, and its statements run alone: one of them is not what it seemed.
    static let stall = Duration.milliseconds(25)

    /// - Parameter connections: of the pool; batches take two at most.
    init(loop: EventLoop, connections: Int) {
        self.loop = loop
        state = Mutex(State(lanes: BatchLanes(limit: min(2, connections))))
    }

    // MARK: Callers

    /// Runs a statement together with others.
    ///
    /// - Returns: how it ended; `alone` when the caller is to run it on a connection of its own.
    func ride(_ sql: SQL, _ caller: Caller, of pool: Pool) async -> Batch.Outcome {
        // A critical caller does not wait for others, and a background caller must not delay interactive ones. A statement that libpq would
        // refuse must not fail the batch.
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
            seat.cancel()
        }
    }

    private func gather(_ rider: Batch.Rider, isOnLoop: Bool) -> Gathering {
        state.withLock { state in
            guard state.stalled.isEmpty else { return .refused }
            // The batch waits for a connection until its first caller's deadline. A caller with less time goes alone.
            if case .queueing(let end) = state.departure, rider.caller.deadline < end { return .refused }
            guard state.plan.admits(rider.sql) else { return .refused }
            state.gathered.append(rider)
            guard case .waiting = state.departure, state.lanes.mayLeave(state.gathered.count) else { return .gathered }
            state.departure = .turnEnd
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
                state.departure = .waiting
                return (nil, [])
            }
            // A caller with less time than the first runs alone, as does one with less time that comes while the batch queues (`gather`).
            let hurried = state.gathered.filter { $0.caller.deadline < first.deadline }
            if !hurried.isEmpty {
                state.gathered.removeAll { $0.caller.deadline < first.deadline }
                state.plan.left(hurried.count)
            }
            state.departure = .queueing(until: first.deadline)
            return (first, hurried)
        }
        if let first { pool.checkout(first) { [self] answer in depart(with: answer, for: first.purpose, pool) } }
        for rider in hurried { rider.seat.tell(.alone) }
    }

    private func depart(with answer: Waiter.Answer, for purpose: Purpose, _ pool: Pool) {
        let riders = state.withLock { state in
            state.departure = .waiting
            guard case .success = answer else { return state.take(state.gathered.count) }
            return state.take(state.lanes.leave(state.gathered.count))
        }
        let now = MonotonicInstant.now()
        switch answer {
        case .failure(let error):
            for rider in riders {
                let isLate = rider.caller.deadline.hasPassed(at: now)
                // Whoever has time left asks for itself. Who has left already is not counted again.
                let isTold = rider.seat.tell(isLate ? .failure(error) : .alone)
                if isLate, isTold { pool.counted(error, rider.caller, rider.caller.since) }
            }
        case .success(let pooled):
            // A caller that has left, or whose time is up, is not sent. The latter runs alone, and is refused there.
            let present = riders.filter { rider in
                if rider.caller.deadline.hasPassed(at: now) { rider.seat.tell(.alone) }
                return rider.seat.send()
            }
            if present.isEmpty {
                pool.end(pooled, purpose: purpose, since: now)
                ended(nil, pool)
            } else {
                send(Batch(present, on: pooled, for: purpose, sentAt: now), pool)
                proceed(pool)
            }
        }
    }

    private func send(_ batch: Batch, _ pool: Pool) {
        let timer = loop.schedule(at: batch.sentAt + Self.stall) { [self] in stalled(batch, pool) }
        let isSent = batch.connection.send(batch.riders.map(\.sql), for: batch) { [self] answer in
            loop.cancel(timer)
            arrived(batch, answer, pool)
        }
        guard isSent else {
            loop.cancel(timer)
            if batch.wasNotSent() { pool.giveBack(batch) }
            return ended(batch, pool)
        }
        batches.add()
        statements.add(batch.riders.count)
    }

    private func arrived(_ batch: Batch, _ answer: Operation.Answer, _ pool: Pool) {
        let now = MonotonicInstant.now()
        if batch.answered(answer, now: now, meters: pool.meters) { pool.giveBack(batch) }
        learn(from: batch, answer, now: now)
        ended(batch, pool)
    }

    private func learn(from batch: Batch, _ answer: Operation.Answer, now: MonotonicInstant) {
        let failedAt: Int?
        switch answer.error {
        case nil: failedAt = nil
        // Not the fault of a statement: the server goes away, or a stale plan will be made anew.
        case .server(let error) where error.meaning == .away || error.meaning == .stalePlan && (error.isOfPlan || error.sqlState == "26000"): return
        case .server: failedAt = answer.rows.count
        // Nor is a connection that broke.
        default: return
        }
        let each = (now - batch.sentAt).seconds / Double(batch.riders.count)
        state.withLock { $0.plan.ran(batch.riders.map(\.sql.text), failedAt: failedAt, each: each) }
    }

    /// The lane is free: whoever came meanwhile is next.
    private func ended(_ batch: Batch?, _ pool: Pool) {
        state.withLock { state in
            if let batch { state.stalled.remove(ObjectIdentifier(batch)) }
            state.lanes.ended()
        }
        proceed(pool)
    }

    /// Sends the next batch on its way when enough callers wait, or when no batch is under way.
    ///
    /// It leaves at the end of the turn: until then callers that were just answered ask again, and small groups become one batch.
    private func proceed(_ pool: Pool) {
        let mustLeave = state.withLock { state in
            guard case .waiting = state.departure, state.lanes.mayLeave(state.gathered.count) else { return false }
            state.departure = .turnEnd
            return true
        }
        if mustLeave { loop.atTurnEnd { [self] in queue(pool) } }
    }

    private func stalled(_ batch: Batch, _ pool: Pool) {
        batch.connection.takeWhatHasCome()
        guard pool.unblock(batch) else { return }
        let waiting = state.withLock { state -> [Batch.Rider] in
            // Answered meanwhile: its lane is free, and nothing is stalled.
            guard !batch.isAnswered else { return [] }
            state.stalled.insert(ObjectIdentifier(batch))
            return state.take(state.gathered.count)
        }
        for rider in waiting { rider.seat.tell(.alone) }
    }
}
