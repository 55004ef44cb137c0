import Synchronization
import Vitals

/// What the clock does: callers whose time is up leave the queue, a queue that lasts is told, and connections go for their age.
extension Pool {
    func armQueueTimer(_ guarded: inout Guarded, _ deadline: Deadline) {
        guard deadline.instant.nanoseconds < (guarded.queueTimerAt?.nanoseconds ?? .max) else { return }
        guarded.queueTimerAt = deadline.instant
        loop.schedule(at: deadline.instant) { [self] in expireWaiters() }
    }

    private func expireWaiters() {
        let now = MonotonicInstant.now()
        let refused = withQueue { guarded -> [(Grant, PoolError)] in
            if let at = guarded.queueTimerAt, at > now { return [] }
            guarded.queueTimerAt = nil
            // The picture is taken before they leave: it shows the queue they stood in.
            let before = guarded.state
            let expired = guarded.state.expire(now: now)
            if let next = guarded.state.line.earliestDeadline { armQueueTimer(&guarded, next) }
            return expired.compactMap { id, caller in
                let estimate = before.estimatedWait(of: caller.workClass, now: now)
                return guarded.takeGrant(id).map { ($0, before.refusal(.expired, estimate: estimate, waited: now - caller.since, now: now)) }
            }
        }
        for (grant, error) in refused { grant.tell(.failure(error)) }
        if !refused.isEmpty { observePressure(.queueDeadline) }
    }

    /// Closes the connection whose turn it is then, and sees to the next.
    func retire(at turn: MonotonicInstant) {
        loop.schedule(at: turn) { [self] in
            let now = MonotonicInstant.now()
            let (connection, again) = guarded.withLock { guarded -> (PostgresConnection?, MonotonicInstant?) in
                let turn = guarded.state.retireNext(now: now)
                guard let slot = turn.slot else { return (nil, turn.again) }
                defer { guarded.connections[slot] = nil }
                return (guarded.connections[slot], turn.again)
            }
            if let connection {
                connection.close()
                meters.closed.add(for: .lifetime)
                addChore.yield(.connect)
            }
            if let again { retire(at: again) }
        }
    }

    func armPressureTimer(_ guarded: inout Guarded, since: MonotonicInstant) {
        guard !guarded.pressureTimerArmed else { return }
        guarded.pressureTimerArmed = true
        loop.schedule(at: since + Self.sustainedWait) { [self] in checkPressure() }
    }

    private func checkPressure() {
        let now = MonotonicInstant.now()
        let sustained = guarded.withLock { guarded in
            guarded.pressureTimerArmed = false
            guard let oldest = guarded.state.line.oldestSince else { return false }
            if now - oldest >= Self.sustainedWait { return true }
            armPressureTimer(&guarded, since: oldest)
            return false
        }
        if sustained { observePressure(.sustained) }
    }
}
