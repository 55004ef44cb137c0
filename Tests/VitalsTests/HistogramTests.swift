import Testing
import Vitals

@Suite("Histogram")
struct HistogramTests {
    @Test func `a value on a bound belongs to the bucket below it`() {
        let histogram = Histogram(bounds: [0.001, 0.01])
        for milliseconds in [1, 2, 10, 11] { histogram.record(.milliseconds(milliseconds)) }
        let snapshot = histogram.snapshot()
        #expect(snapshot.counts == [1, 2, 1])
        #expect(abs(snapshot.sum - 0.024) < 1e-9)
    }

    @Test func `quantiles interpolate within a bucket and never invent beyond the last bound`() {
        let snapshot = HistogramSnapshot(bounds: [1, 2], counts: [50, 50, 0], sum: 100)
        #expect(snapshot.quantile(0.5) == 1)
        #expect(snapshot.quantile(0.75) == 1.5)
        #expect(HistogramSnapshot(bounds: [1, 2], counts: [0, 0, 9], sum: 90).quantile(0.99) == 2)
        #expect(HistogramSnapshot(bounds: [1], counts: [0, 0], sum: 0).quantile(0.5) == nil)
    }

    @Test func `a sum beyond 292 years stays there, and nothing else is lost`() {
        let histogram = Histogram()
        // Since 1970, and since the year 1.
        for _ in 0..<6 { histogram.record(.seconds(1_800_000_000)) }
        histogram.record(.seconds(64_000_000_000))
        histogram.record(.milliseconds(3))
        let snapshot = histogram.snapshot()
        #expect(snapshot.count == 8 && snapshot.sum == Double(Int64.max) / 1e9)
    }

    @Test func `nothing is lost when many record at once`() async {
        let histogram = Histogram()
        await withDiscardingTaskGroup { group in
            for _ in 0..<8 { group.addTask { for _ in 0..<10_000 { histogram.record(.milliseconds(3)) } } }
        }
        #expect(histogram.snapshot().count == 80_000)
        #expect(abs(histogram.snapshot().sum - 240) < 1e-6)
    }
}

@Suite("Backoff")
struct BackoffTests {
    @Test(arguments: [(1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (1_000, 300)])
    func `doubles up to the cap`(attempt: Int, seconds: Int) {
        #expect(Backoff(base: .seconds(1), cap: .seconds(300)).ceiling(attempt: attempt) == .seconds(seconds))
    }

    @Test func `jitter is full: anything from nothing to the ceiling`() {
        let backoff = Backoff(base: .milliseconds(100), cap: .seconds(10))
        let delays = (0..<2_000).map { _ in backoff.delay(attempt: 3) }
        #expect(delays.allSatisfy { $0 >= .zero && $0 <= .milliseconds(400) })
        #expect(delays.contains { $0 < .milliseconds(60) } && delays.contains { $0 > .milliseconds(340) })
    }
}
