import Vitals

/// What the pool adds up as it goes: exact shares of time instead of samples.
struct PoolTallies {
    /// Connection-seconds in use; the difference over `max` times the elapsed time is the mean utilisation.
    private(set) var busy = Duration.zero
    /// Time during which no connection was free.
    private(set) var exhausted = Duration.zero
    var opened = 0
    /// Most callers queued at once since last taken.
    var peakWaiting = 0
    var averageHeld = MovingAverage()
    private var lastChange: MonotonicInstant

    init(now: MonotonicInstant) {
        lastChange = now
    }

    mutating func advance(to now: MonotonicInstant, leased: Int, exhausted isExhausted: Bool) {
        guard now > lastChange else { return }
        let elapsed = now - lastChange
        lastChange = now
        busy += elapsed * leased
        if isExhausted { exhausted += elapsed }
    }
}

/// Exponentially weighted: the last twenty or so values matter.
struct MovingAverage {
    private(set) var mean: Duration?

    mutating func record(_ value: Duration) {
        guard let mean else {
            self.mean = value
            return
        }
        self.mean = .nanoseconds(mean.nanoseconds + (value.nanoseconds - mean.nanoseconds) / 10)
    }
}
