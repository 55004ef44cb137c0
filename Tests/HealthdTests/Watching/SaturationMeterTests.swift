@testable import AppCore
import Testing
import Vitals

@testable import healthd

@Suite struct `How full the pool is` {
    /// One look: when, how many connection-seconds had been used by then in a pool of two, and for how long the oldest waits.
    private struct Look {
        var at: Int
        var busy: Double
        var waits: Int?
        var turnedAway = 0
        var leased = 2
        var shows: Double
    }

    private func expect(_ looks: [Look], sourceLocation: SourceLocation = #_sourceLocation) {
        var meter = SaturationMeter()
        for look in looks {
            var pool = HTTPSamples.pool(leased: look.leased, max: 2, waiting: look.waits == nil ? 0 : 1)
            pool.busySeconds = look.busy
            pool.oldestWait = look.waits.map { .milliseconds($0) }
            pool.acquire = [.refused: HistogramSnapshot(bounds: [], counts: [look.turnedAway], sum: 0)]
            let shown = meter.saturation(pool, at: MonotonicInstant(nanoseconds: Int64(look.at) * 1_000_000))
            #expect(abs(shown - look.shows) < 1e-9, "at \(look.at) ms", sourceLocation: sourceLocation)
        }
    }

    @Test func `it is the exact share of the time since the last look`() {
        expect([Look(at: 0, busy: 7, shows: 0), Look(at: 1_000, busy: 8, shows: 0.5), Look(at: 2_000, busy: 9.8, shows: 0.9)])
    }

    @Test func `one look says nothing, however many are leased in that instant`() {
        expect([Look(at: 0, busy: 0, shows: 0)])
    }

    @Test func `a burst of less than a quarter of a second makes nobody wake up`() {
        // A look soon after the first, as the runner takes it when an answer is new; both connections in use all the time between.
        expect([
            Look(at: 0, busy: 0, shows: 0), Look(at: 200, busy: 0.4, waits: 149, shows: 0), Look(at: 400, busy: 0.4, shows: 0),
            Look(at: 1_000, busy: 0.4, shows: 0.2),
        ])
    }

    @Test func `looks that follow each other closely are one`() {
        expect([
            Look(at: 0, busy: 0, shows: 0), Look(at: 1_000, busy: 1, shows: 0.5), Look(at: 1_200, busy: 1.4, shows: 0.5),
            Look(at: 1_400, busy: 1.8, shows: 0.5), Look(at: 1_600, busy: 2.2, shows: 1),
        ])
    }

    @Test func `who has waited for long, or was turned away, is demand at once`() {
        expect([
            Look(at: 0, busy: 0, shows: 0), Look(at: 249, busy: 0.4, waits: 249, shows: 0), Look(at: 250, busy: 0.4, waits: 250, shows: 1.5),
        ])
        expect([Look(at: 0, busy: 0, shows: 0), Look(at: 20, busy: 0, turnedAway: 1, shows: 1)])
    }

    @Test("A12: a pool of which nobody has a connection is not full, however long somebody waits for one")
    func nobodyHasOne() {
        expect([
            Look(at: 0, busy: 0, shows: 0), Look(at: 250, busy: 0, waits: 250, leased: 0, shows: 0),
            Look(at: 5_000, busy: 0, waits: 5_000, leased: 0, shows: 0), Look(at: 5_250, busy: 0, waits: 250, leased: 1, shows: 1),
        ])
    }
}
