import Vitals

/// How many connections are to be opened, and when.
extension PoolState {
    /// How many connections are to be opened now. One at a time beyond the minimum: a burst of short queries is over before many
    /// connections would be open, and they would only be in the way.
    func connectsWanted(now: MonotonicInstant) -> Int {
        guard !isShuttingDown, attempts.mayBegin(at: now) else { return 0 }
        let allowed = attempts.isDown ? 1 : max(1, min(4, configuration.min - open))
        let wanted = max(configuration.min - open, wantedByWaiters, attempts.isDown ? 1 : 0)
        return max(0, min(allowed, wanted) - numbers.connecting)
    }

    /// Connections that would be taken at once. The reserved ones are only opened while the critical class has or wants connections.
    private var wantedByWaiters: Int {
        let critical = queue.count(of: .critical)
        let background = min(queue.count(of: .background), max(0, configuration.backgroundMax - numbers.background))
        let limit = configuration.max + min(configuration.reserved, numbers.critical + critical)
        return min(critical + queue.count(of: .interactive) + background, limit - open)
    }
}
