import Synchronization
import Vitals

/// What the pool looks like from outside: each is made of one copy, taken under the lock.
extension Pool {
    /// For metrics and probes. The peak of waiters begins anew with it.
    public func statistics() -> PoolStatistics {
        let now = MonotonicInstant.now()
        let (state, counts) = guarded.withLock { guarded in
            guarded.state.advance(to: now)
            defer { guarded.state.resetPeak() }
            return (guarded.state, guarded.state.counts())
        }
        let unavailable: (String, Duration)? =
            if case .databaseUnavailable(let cause, let since, _) = state.unavailable(now: now) { (cause, since) } else { nil }
        return PoolStatistics(
            max: configuration.max, min: configuration.min, idle: counts.idle, leased: counts.leased, connecting: counts.connecting,
            recovering: counts.recovering, retiring: counts.retiring, waiting: state.waiting, waitingPeak: state.tallies.peakWaiting,
            oldestWait: state.queue.oldestSince.map { now - $0 },
            oldestLeaseAge: state.oldestLease.map { now - $0.since },
            unavailable: unavailable, newestConnect: state.attempts.newest, busySeconds: state.tallies.busy.seconds, exhaustedSeconds: state.tallies.exhausted.seconds,
            opened: state.tallies.opened, closed: meters.closed.values, leaksSuspected: meters.leaks.value,
            leaksReturned: meters.leaksReturned.value,
            acquire: meters.acquireSnapshots(), use: meters.use.snapshot(),
            createSucceeded: meters.createSucceeded.snapshot(), createFailed: meters.createFailed.snapshot(),
            query: meters.querySnapshots(), queryErrorsBySQLStateClass: meters.queryErrors.values, shed: meters.shed.values,
            isOverloaded: state.isOverloaded, batches: batcher.batches.value, batchedStatements: batcher.statements.value)
    }

    public func holders() -> PoolHolders {
        let now = MonotonicInstant.now()
        let (leases, waiters) = guarded.withLock { guarded in
            (guarded.state.leases.map { ($0.caller, $0.since, guarded.connections[$0.slot]) }, guarded.state.queue.waiters.map(\.caller))
        }
        return PoolHolders(
            holders: leases.map { caller, since, connection in
                let activity = connection?.activity
                let fingerprint = activity?.statement.map { StatementFingerprint($0) }
                return PoolHolders.Holder(
                    purpose: caller.purpose.name, workClass: caller.workClass, detail: caller.detail, statement: fingerprint?.text,
                    fingerprint: fingerprint?.mark, batched: activity?.batched, callSite: "\(caller.site)", age: now - since,
                    inTransaction: activity?.inTransaction ?? false, backendPID: Int(connection?.backendPID ?? 0))
            },
            waiters: waiters.map {
                PoolHolders.Waiter(
                    purpose: $0.purpose.name, workClass: $0.workClass, detail: $0.detail, callSite: "\($0.site)", age: now - $0.since,
                    deadlineIn: $0.deadline.remaining(at: now))
            })
    }
}
