import Vitals

/// What a newcomer would wait: until as many leases have ended as callers come before it.
///
/// Each connection comes free once in a mean lease, or in the age its lease has reached if that is more: one that is stuck counts for little.
struct WaitEstimate {
    /// Seconds of a mean lease.
    private let typical: Double
    private var connections = 0
    private var endsPerSecond = 0.0

    /// Nil before enough leases have ended to know how long they take.
    init?(_ held: MovingAverage) {
        guard held.count >= 8, let mean = held.mean else { return nil }
        typical = max(1e-6, mean.seconds)
    }

    mutating func add(leaseOfAge age: Duration) {
        connections += 1
        endsPerSecond += 1 / max(typical, age.seconds)
    }

    /// Connections that are about to serve.
    mutating func add(free count: Int) {
        connections += count
        endsPerSecond += Double(count) / typical
    }

    /// - Parameters:
    ///   - callers: those that are served before.
    ///   - limit: connections that the newcomer's class may have; what comes free beyond is for others.
    /// - Returns: nil while no connection stands.
    func wait(behind callers: Int, limit: Int) -> Duration? {
        guard endsPerSecond > 0 else { return nil }
        let share = min(1, Double(limit) / Double(connections))
        return .seconds(Double(callers + 1) / (endsPerSecond * share))
    }
}
