import Synchronization

/// Durations counted in fixed buckets, without a lock.
///
/// A snapshot taken while others record may miss the latest of them; it never counts one twice. The sum stays at 292 years when it has come so far.
public final class Histogram: Sendable {
    /// Upper bounds in seconds, 0.5 ms to 30 s: the catalogue's (`healthd_*_duration_seconds`).
    public static let latencyBounds: [Double] = [
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
    ]

    public let bounds: [Double]
    private let boundsInNanoseconds: [Int64]
    private let buckets: Buckets
    private let sumInNanoseconds = Atomic<Int64>(0)

    /// - Parameter bounds: ascending upper bounds in seconds; a last bucket without a bound is added.
    public init(bounds: [Double] = Histogram.latencyBounds) {
        precondition(!bounds.isEmpty && zip(bounds, bounds.dropFirst()).allSatisfy { $0 < $1 }, "bounds must ascend")
        self.bounds = bounds
        boundsInNanoseconds = bounds.map { Int64(($0 * 1_000_000_000).rounded()) }
        buckets = Buckets(count: bounds.count + 1)
    }

    public func record(_ duration: Duration) { record(nanoseconds: duration.nanoseconds) }

    public func record(nanoseconds: Int64) {
        let nanoseconds = max(0, nanoseconds)
        var index = 0
        while index < boundsInNanoseconds.count && boundsInNanoseconds[index] < nanoseconds { index += 1 }
        buckets[index].add(1, ordering: .relaxed)
        if nanoseconds > 0 { sumInNanoseconds.addSaturated(nanoseconds) }
    }

    public func snapshot() -> HistogramSnapshot {
        HistogramSnapshot(
            bounds: bounds,
            counts: (0...bounds.count).map { buckets[$0].load(ordering: .relaxed) },
            sum: Double(sumInNanoseconds.load(ordering: .relaxed)) / 1e9)
    }

    // Unchecked: the storage is allocated once, freed with its owner, and touched only through atomics.
    private final class Buckets: @unchecked Sendable {
        private let storage: UnsafeMutablePointer<Atomic<Int>>
        private let count: Int

        init(count: Int) {
            self.count = count
            storage = .allocate(capacity: count)
            for index in 0..<count { (storage + index).initialize(to: Atomic(0)) }
        }

        deinit {
            storage.deinitialize(count: count)
            storage.deallocate()
        }

        subscript(index: Int) -> Atomic<Int> {
            _read { yield storage[index] }
        }
    }
}

/// What a histogram held at one moment.
public struct HistogramSnapshot: Sendable, Hashable {
    /// Ascending upper bounds in seconds.
    public var bounds: [Double]
    /// One more than `bounds`; not cumulative.
    public var counts: [Int]
    /// Seconds.
    public var sum: Double

    public init(bounds: [Double], counts: [Int], sum: Double) {
        precondition(counts.count == bounds.count + 1, "one count for each bound and one beyond")
        self.bounds = bounds
        self.counts = counts
        self.sum = sum
    }

    public var count: Int { counts.reduce(0, +) }

    /// The value below which `quantile` of the recorded lie, interpolated within its bucket; nil when nothing was recorded.
    ///
    /// The last, open bucket answers its lower bound: the true value is at least that.
    public func quantile(_ quantile: Double) -> Double? {
        let total = count
        guard total > 0 else { return nil }
        let rank = quantile * Double(total)
        var below = 0
        for (index, inBucket) in counts.enumerated() where inBucket > 0 {
            if Double(below + inBucket) >= rank {
                let lower = index == 0 ? 0 : bounds[index - 1]
                guard index < bounds.count else { return lower }
                return lower + (bounds[index] - lower) * max(0, rank - Double(below)) / Double(inBucket)
            }
            below += inBucket
        }
        return bounds.last
    }

    /// What was recorded since `earlier`, a snapshot of the same histogram.
    public func since(_ earlier: HistogramSnapshot) -> HistogramSnapshot {
        precondition(bounds == earlier.bounds, "snapshots of two histograms cannot be subtracted")
        return HistogramSnapshot(bounds: bounds, counts: zip(counts, earlier.counts).map { $0 - $1 }, sum: sum - earlier.sum)
    }
}
