import Vitals

/// What the pool adds up as it goes: exact shares of time instead of samples.
struct PoolTallies {
    /// Connection-seconds in use; the difference over `max` times the elapsed time is the mean utilisation.
    var busy: Duration { .nanoseconds(busyNanoseconds) }
    /// Time during which no connection was idle, and the pool was full or a caller waited.
    var exhausted: Duration { .nanoseconds(exhaustedNanoseconds) }
    private var busyNanoseconds: Int64 = 0
    private var exhaustedNanoseconds: Int64 = 0
    var opened = 0
    /// Most callers queued at once since the statistics were last read.
    var peakWaiting = 0
    var averageHeld = MovingAverage()
    private var lastChange: MonotonicInstant

    init(now: MonotonicInstant) {
        lastChange = now
    }

    mutating func advance(to now: MonotonicInstant, leased: Int, exhausted isExhausted: Bool) {
        guard now > lastChange else { return }
        let elapsed = now.nanoseconds(since: lastChange)
        lastChange = now
        busyNanoseconds += elapsed * Int64(leased)
        if isExhausted { exhaustedNanoseconds += elapsed }
    }
}

/// Exponentially weighted: the last twenty or so values matter.
///
/// One value counts for at most eight times the mean or 100 ms, whichever is more: a single migration of minutes must not make every caller look
/// hopeless, while a lasting change is followed within a dozen values.
struct MovingAverage {
    private(set) var count = 0
    /// 0 before the first value.
    private(set) var nanoseconds: Int64 = 0

    /// Nil before the first value.
    var mean: Duration? { count > 0 ? .nanoseconds(nanoseconds) : nil }

    mutating func record(nanoseconds value: Int64) {
        let bounded = min(value, max(8 * nanoseconds, 100_000_000))
        nanoseconds = count == 0 ? bounded : nanoseconds + (bounded - nanoseconds) / 10
        count += 1
    }
}
