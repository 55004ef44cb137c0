import Vitals

/// What the state of the pool looks like from outside: counts, who is oldest, and what a newcomer would wait.
extension PoolState {
    var total: Int { open + numbers.connecting }
    var open: Int { idle.count + numbers.inUse }
    var waiting: Int { queue.count }
    var isOverloaded: Bool { admission.isOverloaded }

    /// What a newcomer would wait; nil when too little is known for a guess.
    func estimatedWait(of workClass: WorkClass, now: MonotonicInstant) -> Duration? {
        guard var estimate = WaitEstimate(tallies.averageHeld) else { return nil }
        for slot in connections.indices where connections[slot].phase == .leased {
            estimate.add(leaseOfAge: now.nanoseconds(since: connections[slot].since))
        }
        estimate.add(free: numbers.recovering + numbers.retiring + idle.count)
        return estimate.wait(behind: queue.count(upTo: workClass), limit: configuration.limit(of: workClass))
    }

    var oldestLease: (caller: Caller, since: MonotonicInstant)? {
        let leased = connections.lazy.filter { $0.phase == .leased }
        return leased.min { $0.since < $1.since }.flatMap { oldest in oldest.caller.map { ($0, oldest.since) } }
    }

    /// Oldest first.
    var leases: [(slot: Slot, caller: Caller, since: MonotonicInstant)] {
        connections.indices.compactMap { slot in
            guard connections[slot].phase == .leased, let caller = connections[slot].caller else { return nil }
            return (slot, caller, connections[slot].since)
        }.sorted { $0.since < $1.since }
    }

    /// The caller of a lease that was reported as a suspected leak, and the age of the lease; nil for any other.
    func suspect(_ slot: Slot, now: MonotonicInstant) -> (caller: Caller, age: Duration)? {
        guard connections[slot].reportedAsLeak, let caller = connections[slot].caller else { return nil }
        return (caller, now - connections[slot].since)
    }

    func counts() -> (idle: Int, leased: Int, connecting: Int, recovering: Int, retiring: Int) {
        (idle.count, numbers.leased, numbers.connecting, numbers.recovering, numbers.retiring)
    }

    func picture(now: MonotonicInstant) -> PoolPicture {
        let oldest = oldestLease
        return PoolPicture(
            leased: numbers.inUse, idle: idle.count, connecting: numbers.connecting, waiting: queue.count, max: configuration.max,
            oldestLease: oldest.map { now - $0.since }, oldestPurpose: oldest?.caller.purpose.name, lastConnectFailure: attempts.lastFailure)
    }
}
