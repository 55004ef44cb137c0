import Vitals

/// What a newcomer would wait: until as many leases have ended as callers come before it.
///
/// A connection comes free once in a mean lease. A lease that is older than the mean counts with its age: one that is stuck counts for little.
///
/// In nanoseconds throughout: it is made under the pool's lock, for everybody who queues.
struct WaitEstimate {
    /// Of a mean lease.
    private let typical: Double
    private var connections = 0
    private var endsPerNanosecond = 0.0

    /// Nil before enough leases have ended to know how long they take.
    init?(_ held: MovingAverage) {
        guard held.count >= 8 else { return nil }
        typical = max(1_000, Double(held.nanoseconds))
    }

    /// - Parameter age: nanoseconds.
    mutating func add(leaseOfAge age: Int64) {
        connections += 1
        endsPerNanosecond += 1 / max(typical, Double(age))
    }

    /// Connections that are about to serve.
    mutating func add(free count: Int) {
        connections += count
        endsPerNanosecond += Double(count) / typical
    }

    /// - Parameters:
    ///   - callers: those that are served before.
    ///   - limit: connections that the newcomer's class may have; what comes free beyond is for others.
    /// - Returns: nil while no connection stands.
    func wait(behind callers: Int, limit: Int) -> Duration? {
        guard endsPerNanosecond > 0 else { return nil }
        let share = min(1, Double(limit) / Double(connections))
        // A century at most: the clock of an `Int64` goes on for three.
        return .nanoseconds(Int64(min(3e18, Double(callers + 1) / (endsPerNanosecond * share))))
    }
}
