import Synchronization
import Vitals

/// What the pool looks like from outside, each time a lock and a copy.
extension Pool {
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
                    purpose: record.purpose.name, workClass: record.workClass, detail: record.detail, statement: fingerprint?.text, fingerprint: fingerprint?.mark,
                    callSite: "\(record.site)", age: now - record.since, inTransaction: activity?.inTransaction ?? false,
                    backendPID: Int(connection?.backendPID ?? 0))
            },
            waiters: waiters.map {
                PoolHolders.Waiter(
                    purpose: $0.purpose.name, workClass: $0.workClass, detail: $0.detail, callSite: "\($0.site)", age: now - $0.since,
                    deadlineIn: $0.deadline.remaining(at: now))
            })
    }
}
