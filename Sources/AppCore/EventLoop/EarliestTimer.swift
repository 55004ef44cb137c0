import Vitals

/// For which instant the timer is set that is to run at the earliest of several.
///
/// A timer whose instant is no longer the earliest is left to run, and finds nothing to do: that is cheaper than to cancel it.
struct EarliestTimer {
    private var instant: MonotonicInstant?

    /// - Returns: whether a timer is to be set for `instant`: none is set that runs as early.
    mutating func mustRun(at instant: MonotonicInstant) -> Bool {
        guard instant.nanoseconds < (self.instant?.nanoseconds ?? .max) else { return false }
        self.instant = instant
        return true
    }

    /// A timer ran.
    ///
    /// - Returns: whether it is the one that counts. Whoever waits on is then to ask `mustRun` for the next.
    mutating func ran(now: MonotonicInstant) -> Bool {
        if let instant, instant > now { return false }
        instant = nil
        return true
    }
}
