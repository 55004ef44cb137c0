@testable import AppCore
@testable import Probes
import Synchronization
import Testing
import Vitals

@testable import healthd

/// Which statements a percentile speaks of.
@Suite struct `How long statements take` {
    /// So many that ended within one of `Histogram.latencyBounds`.
    private static func ended(_ count: Int, in bucket: Int) -> HistogramSnapshot {
        var counts = [Int](repeating: 0, count: Histogram.latencyBounds.count + 1)
        counts[bucket] = count
        return HistogramSnapshot(bounds: Histogram.latencyBounds, counts: counts, sum: 0)
    }

    /// Half a millisecond to one.
    private static let quick = 1
    /// Two and a half seconds to five.
    private static let slow = 12

    /// What is measured look by look, when the pool has added up this by then.
    private func measured(_ looks: [[QueryKind: HistogramSnapshot]]) async throws -> [[String: Double]] {
        let left = Mutex(looks)
        let reading = PoolReading(time: ManualTime()) {
            var pool = HTTPSamples.pool()
            pool.query = left.withLock { $0.removeFirst() }
            return pool
        }
        let probe = QueryWatch.probe(reading, interval: .seconds(1), timeout: .seconds(1))
        var found: [[String: Double]] = []
        for _ in looks { found.append(try await probe.measure().values) }
        return found
    }

    @Test func `only what ended since the last look is judged`() async throws {
        let kind = QueryKind(operation: .select, outcome: .ok)
        let bad = Self.ended(40, in: Self.slow)
        var good = bad
        good.counts[Self.quick] += 40
        let found = try await measured([[kind: bad], [kind: good], [kind: good]])
        #expect(found[0]["count"] == 40 && found[0]["p99"].map { $0 > 2.5 } == true, "\(found[0])")
        #expect(found[1]["count"] == 40 && found[1]["p99"].map { $0 <= 0.001 } == true, "\(found[1])")
        #expect(found[2] == ["count": 0])
    }

    @Test func `those that ran into their deadline count; cancelled ones, whole transactions and a few do not`() async throws {
        let select = QueryKind(operation: .select, outcome: .ok)
        let few = [
            select: Self.ended(QueryWatch.fewest - 1, in: Self.quick),
            QueryKind(operation: .select, outcome: .cancelled): Self.ended(40, in: Self.slow),
            QueryKind(operation: .transaction, outcome: .ok): Self.ended(40, in: Self.slow),
        ]
        var late = few
        late[QueryKind(operation: .update, outcome: .timeout)] = Self.ended(QueryWatch.fewest, in: Self.slow)
        let found = try await measured([few, late])
        #expect(found[0] == ["count": Double(QueryWatch.fewest - 1)])
        #expect(found[1]["count"] == Double(QueryWatch.fewest) && found[1]["p50"].map { $0 > 2.5 } == true, "\(found[1])")
    }
}
