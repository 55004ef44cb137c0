import Vitals

/// How many connections are to be opened, and when.
extension PoolState {
    /// How many connections are to be opened now. One at a time beyond the minimum: a burst of short queries is over before many
    /// connections would stand, and they would only be in the way.
    func connectsWanted(now: MonotonicInstant) -> Int {
        guard !isShuttingDown, attempts.mayBegin(at: now) else { return 0 }
        let standing = total - numbers.connecting
        let allowed = attempts.isDown ? 1 : max(1, min(4, configuration.min - standing))
        let wanted = max(configuration.min - standing, wantedByWaiters(standing), attempts.isDown ? 1 : 0)
        return max(0, min(allowed, wanted) - numbers.connecting)
    }

    /// Connections that would be taken at once. The reserved ones are only opened for the critical class.
    private func wantedByWaiters(_ standing: Int) -> Int {
        let critical = line.count(of: .critical)
        let background = min(line.count(of: .background), max(0, configuration.backgroundMax - numbers.background))
        let limit = configuration.max + min(configuration.reserved, numbers.critical + critical)
        return min(critical + line.count(of: .interactive) + background, limit - standing)
    }
}
