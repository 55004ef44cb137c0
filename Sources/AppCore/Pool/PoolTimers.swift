import Synchronization
import Vitals

/// What the timers do: callers whose deadline has passed leave the queue, a queue that lasts is reported as pressure, and retiring connections are
/// closed.
extension Pool {
    func armQueueTimer(_ guarded: inout Guarded, _ deadline: Deadline) {
        guard guarded.queueTimer.mustRun(at: deadline.instant) else { return }
        loop.schedule(at: deadline.instant) { [self] in expireWaiters() }
    }

    private func expireWaiters() {
        let now = MonotonicInstant.now()
        let refused = guarded.withLock { guarded -> [(Waiter, PoolError)] in
            guard guarded.queueTimer.ran(now: now) else { return [] }
            // The picture is taken before they leave: it shows the queue they stood in.
            let before = guarded.state
            let expired = guarded.state.expire(now: now)
            if let next = guarded.state.queue.earliestDeadline { armQueueTimer(&guarded, next) }
            return expired.map { waiter in
                let estimate = before.estimatedWait(of: waiter.caller.workClass, now: now)
                return (waiter, before.refusal(.expired, estimate: estimate, waited: now - waiter.since, now: now))
            }
        }
        for (waiter, error) in refused { waiter.tell(.failure(error)) }
        if !refused.isEmpty { observePressure(.queueDeadline) }
    }

    /// Closes the next connection whose lifetime is over, at that instant, and sees to the one after it.
    func retire(at instant: MonotonicInstant) {
        loop.schedule(at: instant) { [self] in
            let now = MonotonicInstant.now()
            let (connection, again) = guarded.withLock { guarded in
                let next = guarded.state.retireNext(now: now)
                return (next.slot.flatMap { guarded.take($0) }, next.again)
            }
            if let connection {
                close([connection], .lifetime)
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
            guard let oldest = guarded.state.queue.oldestSince else { return false }
            if now - oldest >= Self.sustainedWait { return true }
            armPressureTimer(&guarded, since: oldest)
            return false
        }
        if sustained { observePressure(.sustained) }
    }
}
