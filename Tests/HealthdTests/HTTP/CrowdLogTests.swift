import Testing
import Vitals

@testable import healthd

@Suite struct `Crowd log` {
    static func at(_ seconds: Double) -> MonotonicInstant { MonotonicInstant(nanoseconds: Int64(seconds * 1e9)) }

    @Test func `the end of a crowd says what that crowd cost, not all before it`() {
        var log = CrowdLog()
        for expected in [3, 1] {
            #expect(log.counted(10, of: 10) == .full)
            #expect(log.counted(10, of: 10) == nil)
            for _ in 0..<expected { log.ended(.madeRoom) }
            log.ended(.refused)
            log.ended(.idleTimeout)
            #expect(log.counted(9, of: 10) == nil)
            #expect(log.counted(8, of: 10) == .roomAgain(closed: expected, refused: 1))
            log.ended(.madeRoom)
        }
    }

    @Test func `accepting is over its trouble when somebody came in, not when nobody came`() {
        var log = CrowdLog()
        for _ in 0..<2 {
            #expect(log.failed(.processLimit, now: Self.at(0)) == .notAccepted(.processLimit))
            #expect(log.failed(.processLimit, now: Self.at(1)) == nil)
            #expect(log.acceptedAgain(now: Self.at(1_000)) == nil)
            log.letIn()
            #expect(log.acceptedAgain(now: Self.at(10.9)) == nil)
            #expect(log.acceptedAgain(now: Self.at(11)) == .acceptedAgain(failures: 2))
            #expect(log.acceptedAgain(now: Self.at(12)) == nil)
        }
    }

    @Test func `each other failure keeps it from being over`() {
        var log = CrowdLog()
        _ = log.failed(.memory, now: Self.at(0))
        log.letIn()
        _ = log.failed(.memory, now: Self.at(9))
        log.letIn()
        #expect(log.acceptedAgain(now: Self.at(18)) == nil)
    }

    @Test func `newcomers who are left waiting are told of once, with how long it took`() {
        var log = CrowdLog()
        #expect(log.looked(waiting: 3, canLetIn: false, now: Self.at(0)) == nil)
        #expect(log.looked(waiting: 4, canLetIn: false, now: Self.at(1)) == .newcomersWait(4))
        #expect(log.looked(waiting: 4, canLetIn: false, now: Self.at(2)) == nil)
        #expect(log.looked(waiting: 4, canLetIn: true, now: Self.at(3)) == nil)
        #expect(log.looked(waiting: 0, canLetIn: true, now: Self.at(7)) == .newcomersComeIn(after: .seconds(2)))
        #expect(log.waited == .seconds(2))
    }

    @Test func `a moment in the queue is nothing to tell`() {
        var log = CrowdLog()
        #expect(log.looked(waiting: 3, canLetIn: false, now: Self.at(0)) == nil)
        #expect(log.looked(waiting: 3, canLetIn: true, now: Self.at(1)) == nil)
        #expect(log.looked(waiting: 0, canLetIn: true, now: Self.at(9)) == nil)
        #expect(log.waited == .zero)
    }
}
