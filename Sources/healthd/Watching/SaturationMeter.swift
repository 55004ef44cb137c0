import AppCore
import Vitals

/// How full the pool is, between two looks at it: a pure function of its statistics.
///
/// As long as nobody waits long, it is the exact mean share of connections in use since the last look. Once a caller has
/// queued for 250 ms or was turned away, it is the demand: what is leased and asked for over what there is, 1 or more. A pool of which nobody has
/// a connection is not full, however many wait for one: it waits for the server.
struct SaturationMeter: Sendable {
    private struct Baseline {
        var at: MonotonicInstant
        var busySeconds: Double
        var turnedAway: Int
    }

    private var baseline: Baseline?
    private var lastShare = 0.0

    /// A share over less time than this says little, and would tell of a burst before `sustainedWait` can: an extra look does not move the
    /// baseline.
    static let shortestWindow = Duration.milliseconds(500)
    static let sustainedWait = Duration.milliseconds(250)

    mutating func saturation(_ pool: PoolStatistics, at now: MonotonicInstant) -> Double {
        let turnedAway = [PoolAcquireOutcome.timeout, .refused].reduce(0) { $0 + (pool.acquire[$1]?.count ?? 0) }
        guard let before = baseline else {
            baseline = Baseline(at: now, busySeconds: pool.busySeconds, turnedAway: turnedAway)
            return lastShare
        }
        let elapsed = now - before.at
        let refusedSince = turnedAway > before.turnedAway
        if elapsed >= Self.shortestWindow {
            lastShare = min(1, max(0, (pool.busySeconds - before.busySeconds) / (elapsed.seconds * Double(pool.max))))
            baseline = Baseline(at: now, busySeconds: pool.busySeconds, turnedAway: turnedAway)
        }
        if refusedSince || (pool.leased > 0 && (pool.oldestWait ?? .zero) >= Self.sustainedWait) {
            return max(1, Double(pool.leased + pool.recovering + pool.retiring + pool.waiting) / Double(pool.max))
        }
        return lastShare
    }
}

extension PoolStatistics {
    /// `2 of 2 leased, 1 waiting, the oldest for 250 ms`, and why there are no more connections when none can be opened.
    var summary: String {
        var text = "\(leased) of \(max) leased"
        if waiting > 0 { text += ", \(waiting) waiting" }
        if let oldestWait { text += ", the oldest for \(oldestWait.text)" }
        if let unavailable {
            text += "; no connection can be opened: \(unavailable.cause)"
        } else if waiting > 0, let newestConnect, newestConnect.isMoreThanChance, let error = newestConnect.error {
            text += "; no further connection can be opened: \(error)"
        }
        return text
    }
}
