import Testing
import Vitals

@testable import AppCore

/// When the next connection may be opened, as a value.
@Suite("ConnectAttempts")
struct ConnectAttemptsTests {
    private let start = MonotonicInstant(nanoseconds: 1_000_000_000)

    private func at(_ milliseconds: Int) -> MonotonicInstant { start + .milliseconds(milliseconds) }

    /// Draws the same share of every range.
    private struct Share: RandomNumberGenerator {
        var share: Double
        func next() -> UInt64 { share >= 1 ? .max : UInt64(share * 0x1p64) }
    }

    @Test(arguments: [
        (failure: 1, ceiling: 50), (2, 100), (3, 200), (4, 400), (5, 800), (6, 1_600), (7, 2_000), (8, 2_000), (100, 2_000),
    ])
    func `P3: pauses double from 50 ms to 2 s, and are drawn from the whole range below`(failure: Int, ceiling: Int) {
        for (share, pause) in [(1.0, Duration.milliseconds(ceiling)), (0.5, .milliseconds(ceiling) / 2), (0.25, .milliseconds(ceiling) / 4)] {
            var attempts = ConnectAttempts()
            var generator = Share(share: share)
            for _ in 0..<failure { attempts.failed("refused", othersAreOpen: false, now: start, using: &generator) }
            #expect(attempts.nextAt == start + pause)
            #expect(attempts.untilNext(at(0)) == pause)
            #expect(attempts.untilNext(start + pause + .milliseconds(1)) == .zero)
            #expect(!attempts.mayBegin(at: start + pause - .nanoseconds(1)))
            #expect(attempts.mayBegin(at: start + pause))
        }
    }

    @Test(arguments: [
        // Failed at 0, next at 400: whoever asks brings it forward, but no closer than 50 ms to the last.
        (asks: 0, next: Int?.some(50)), (10, 50), (50, 50), (51, 51), (120, 120), (399, 399), (400, nil), (500, nil),
    ])
    func `P3: who asks brings the next attempt forward to 50 ms after the last, or to now`(asks: Int, next: Int?) {
        var attempts = ConnectAttempts()
        var generator = Share(share: 1)
        for _ in 0..<4 { attempts.failed("refused", othersAreOpen: false, now: start, using: &generator) }
        let sooner = attempts.hasten(now: at(asks))
        #expect(sooner == next.map(at))
        #expect(attempts.nextAt == at(next ?? 400))
    }

    @Test func `P3: the error says why, since when, and when it is tried again; a success ends it all`() {
        var attempts = ConnectAttempts()
        var generator = Share(share: 1)
        attempts.failed("refused", othersAreOpen: false, now: at(0), using: &generator)
        attempts.failed("starting up", othersAreOpen: false, now: at(60), using: &generator)
        guard case .databaseUnavailable("starting up", let since, let next) = attempts.unavailable(now: at(100)) else {
            Issue.record("told: \(String(describing: attempts.unavailable(now: at(100))))")
            return
        }
        #expect(since == .milliseconds(100))
        #expect(next == .milliseconds(60))
        attempts.succeeded(now: at(150))
        #expect(!attempts.isDown && attempts.nextAt == nil && attempts.lastFailure == nil)
        #expect(attempts.unavailable(now: at(200)) == nil)
        // And the pauses begin anew.
        attempts.failed("refused", othersAreOpen: false, now: at(300), using: &generator)
        #expect(attempts.nextAt == at(350))
    }

    @Test func `P3: beside a connection that stands the database is not down, and nobody hastens`() {
        var attempts = ConnectAttempts()
        var generator = Share(share: 1)
        for _ in 0..<4 { attempts.failed("too many clients", othersAreOpen: true, now: start, using: &generator) }
        #expect(!attempts.isDown && attempts.unavailable(now: at(1)) == nil)
        #expect(attempts.hasten(now: at(1)) == nil)
        #expect(attempts.nextAt == at(400))
    }
}
