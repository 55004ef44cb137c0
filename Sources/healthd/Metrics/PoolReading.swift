import AppCore
import Synchronization
import Vitals

/// The pool's statistics with the peak of the last minute, for any number of readers.
///
/// The pool forgets its peak when it is read; a peak that the probe took would be missing from the next scrape.
/// So everybody reads through here, and the peaks are kept for a window.
final class PoolReading: Sendable {
    static let window = Duration.seconds(60)

    private let read: @Sendable () -> PoolStatistics
    private let time: any TimeSource
    private let peaks: Mutex<PeakWindow>

    init(time: any TimeSource, read: @escaping @Sendable () -> PoolStatistics) {
        self.read = read
        self.time = time
        peaks = Mutex(PeakWindow(length: Self.window))
    }

    func current() -> PoolStatistics {
        var statistics = read()
        let now = time.now()
        statistics.waitingPeak = peaks.withLock { peaks in
            peaks.add(statistics.waitingPeak, at: now)
            return peaks.highest
        }
        return statistics
    }
}

/// The highest of the values of the last while. Holds only those that no later value exceeds.
struct PeakWindow {
    let length: Duration
    private var values: [(value: Int, at: MonotonicInstant)] = []

    init(length: Duration) { self.length = length }

    mutating func add(_ value: Int, at now: MonotonicInstant) {
        values.removeAll { now - $0.at > length || $0.value <= value }
        values.append((value, now))
    }

    var highest: Int { values.first?.value ?? 0 }
}
