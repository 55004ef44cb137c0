import Synchronization
import Vitals

/// Statements of several callers in one round trip, and what each of them waits for.
final class Batch: Sendable {
    /// What a caller is told.
    enum Outcome: Sendable {
        case rows(Rows)
        case failure(any Error)
        /// Its statement was not sent, or did not take effect through no fault of its own. It is to run on a connection of its own.
        case alone
    }

    struct Rider: Sendable {
        let sql: SQL
        let caller: Caller
        let seat: Seat
    }

    private struct State {
        var isAnswered = false
        /// A request to cancel was sent: an error that says so is then no fault of the statement it hit.
        var wasCancelled = false
        /// The request to cancel is still under way: the connection must not go to anybody else before it has returned.
        var isCancelling = false
    }

    let riders: [Rider]
    let pooled: PooledConnection
    /// Of the caller for whom the connection was asked for.
    let purpose: Purpose
    let sentAt: MonotonicInstant
    private let state = Mutex(State())

    init(_ riders: [Rider], on pooled: PooledConnection, for purpose: Purpose, sentAt: MonotonicInstant) {
        self.riders = riders
        self.pooled = pooled
        self.purpose = purpose
        self.sentAt = sentAt
    }

    /// Tells every caller how it ended.
    ///
    /// All statements are one implicit transaction, and nobody is told before it has ended. After an error of the server none has taken effect: the
    /// caller whose statement failed gets the error, and all others run again. All run again when the error was our own cancellation, a stale plan,
    /// or a server that goes away. An error that is not the server's goes to every caller.
    ///
    /// - Returns: whether the connection may be given back now; false while a cancellation is under way, for as long as that takes.
    func answered(_ answer: Operation.Answer, now: MonotonicInstant, meters: PoolMeters) -> Bool {
        let (wasCancelled, mayGiveBack) = state.withLock { state in
            state.isAnswered = true
            return (state.wasCancelled, !state.isCancelling)
        }
        for (index, rider) in riders.enumerated() {
            tell(rider, Self.outcome(index, answer, wasCancelled: wasCancelled), now: now, meters: meters)
        }
        return mayGiveBack
    }

    /// The server has not got the batch: every caller runs alone.
    ///
    /// - Returns: as `answered`. Here, too, a cancellation may be under way: if this thread was held up for `stall` after it had set the timer.
    func wasNotSent() -> Bool {
        let mayGiveBack = state.withLock { state in
            state.isAnswered = true
            return !state.isCancelling
        }
        for rider in riders { rider.seat.tell(.alone) }
        return mayGiveBack
    }

    /// Counts what the caller gets. A statement that runs alone is counted where it runs.
    private func tell(_ rider: Rider, _ outcome: Outcome, now: MonotonicInstant, meters: PoolMeters) {
        guard rider.seat.tell(outcome) else { return }
        switch outcome {
        case .rows: meters.recordQuery(rider.sql.operation, since: rider.caller.since, now: now, error: nil)
        case .failure(let error as PostgresError):
            meters.recordQuery(rider.sql.operation, since: rider.caller.since, now: now, error: error)
        case .failure, .alone: break
        }
    }

    var connection: PostgresConnection { pooled.connection }

    var isAnswered: Bool { state.withLock(\.isAnswered) }

    static func outcome(_ index: Int, _ answer: Operation.Answer, wasCancelled: Bool) -> Outcome {
        guard let error = answer.error else { return .rows(answer.rows[index]) }
        // Without the server's answer nobody knows whether the transaction took effect.
        guard case .server(let server) = error else { return .failure(error) }
        let ours = wasCancelled && server.sqlState == "57014"
        if ours || server.meaning == .away || server.meaning == .stalePlan { return .alone }
        return index == answer.rows.count ? .failure(error) : .alone
    }

    /// The batch takes too long. From here on callers are told at their deadlines.
    ///
    /// - Returns: the deadlines, or nil when the answer has come meanwhile.
    func stalled() -> [Deadline]? {
        state.withLock { state in
            guard !state.isAnswered else { return nil }
            state.wasCancelled = true
            state.isCancelling = true
            return riders.map(\.caller.deadline)
        }
    }

    /// Callers whose deadline has passed learn that there is no answer.
    func expire(now: MonotonicInstant, meters: PoolMeters) {
        for rider in riders where rider.caller.deadline.hasPassed(at: now) {
            tell(rider, .failure(PostgresError.deadlineExceeded(after: now - rider.caller.since)), now: now, meters: meters)
        }
    }

    /// The server does not even cancel: whoever still waits learns that there is no answer.
    func giveUp() {
        connection.giveUp(for: self)
    }

    /// - Returns: whether the answer has come meanwhile: then the connection is to be given back now.
    func cancellationEnded() -> Bool {
        state.withLock { state in
            state.isCancelling = false
            return state.isAnswered
        }
    }
}
