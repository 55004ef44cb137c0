import Logging
import Synchronization
import Vitals

/// Leaving a server that is not the one to use any more: its idle connections at once, without the pause between
/// retirements; the others when they come back, or in their turn if they retire already.
extension Pool {
    /// A new connection was opened: if it leads to another server, those before it go.
    func admit(_ slot: PoolState.Slot, _ facts: ServerFacts, _ now: MonotonicInstant) {
        let role = facts.isInRecovery ? "standby" : "primary"
        leaveServer(because: "a new connection leads to another server, a \(role)") { $0.admit(slot, facts.identity, now: now) }
    }

    /// A lease found that its server was demoted, or takes no writes.
    func endGeneration(of slot: PoolState.Slot, because reason: String, _ now: MonotonicInstant) {
        leaveServer(because: reason) { $0.demoted(slot, now: now) }
    }

    private func leaveServer(because reason: String, _ decide: (inout PoolState) -> [PoolState.Slot]) {
        let (closing, hasLeft) = guarded.withLock { guarded in
            let before = guarded.state.generation.number
            let closing = decide(&guarded.state).compactMap { guarded.take($0) }
            return (closing, guarded.state.generation.number != before)
        }
        close(closing, .failover)
        guard hasLeft else { return }
        logLeaving(because: reason, closed: closing.count)
        addChore.yield(.connect)
    }

    func logLeaving(because reason: String, closed: Int) {
        logger.warning("leaving the database server", metadata: ["reason": "\(reason)", "closed": "\(closed)"])
    }
}
