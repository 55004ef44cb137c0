import Vitals

/// How long a newcomer would wait: until a connection has come free for each caller before it, and one more for itself.
///
/// A connection comes free once in a mean lease. If its lease is older than that, its age is taken instead: a stuck lease counts for little.
///
/// In nanoseconds throughout: it is made under the pool's lock, for each caller that queues.
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

    /// Connections that no lease holds: idle, recovering, retiring. A retiring one never serves again, but another is opened in its place.
    mutating func add(free count: Int) {
        connections += count
        endsPerNanosecond += Double(count) / typical
    }

    /// - Parameters:
    ///   - callers: how many callers are served before it.
    ///   - limit: how many connections the newcomer's class may have; what comes free beyond it is for others.
    /// - Returns: nil while no connection is open.
    func wait(behind callers: Int, limit: Int) -> Duration? {
        guard endsPerNanosecond > 0 else { return nil }
        let share = min(1, Double(limit) / Double(connections))
        // At most 95 years, so that the sum with any instant fits an `Int64`.
        return .nanoseconds(Int64(min(3e18, Double(callers + 1) / (endsPerNanosecond * share))))
    }
}
