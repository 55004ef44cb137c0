/// Latencies in nanoseconds: exact below 128, and counted in 128 steps per doubling above, so never more than 0.8 % off.
///
/// The same buckets as the other programs of the bench (`Benchmarks/peers/coprocess.h`).
struct Latencies: Sendable {
    private static let steps = 128

    private(set) var count = 0
    private var buckets = [Int](repeating: 0, count: 35 * steps)

    mutating func record(_ nanoseconds: Int64) {
        count += 1
        buckets[Self.bucket(of: UInt64(max(0, nanoseconds)))] += 1
    }

    mutating func add(_ other: Latencies) {
        count += other.count
        for index in buckets.indices { buckets[index] += other.buckets[index] }
    }

    /// The middle of the bucket that holds the quantile.
    func microseconds(at quantile: Double) -> Double {
        var before = Int(Double(count) * quantile)
        var index = 0
        while index < buckets.count - 1, before >= buckets[index] {
            before -= buckets[index]
            index += 1
        }
        guard index >= Self.steps else { return Double(index) / 1e3 }
        let shift = index / Self.steps - 1
        let low = UInt64(index % Self.steps + Self.steps) << UInt64(shift)
        return (Double(low) + Double((UInt64(1) << UInt64(shift)) - 1) / 2) / 1e3
    }

    private static func bucket(of nanoseconds: UInt64) -> Int {
        guard nanoseconds >= UInt64(steps) else { return Int(nanoseconds) }
        let shift = 63 - nanoseconds.leadingZeroBitCount - 7
        return min((shift + 1) * steps + Int(nanoseconds >> UInt64(shift)) - steps, 35 * steps - 1)
    }
}
