import Testing
import Vitals

@testable import AppCore

struct `The breaker` {
    private let start = MonotonicInstant(nanoseconds: 1_000_000_000_000)

    @Test func `opens at its tolerance and admits one trial when the pause is over`() {
        var breaker = Breaker(tolerance: 2, pause: .seconds(1), cap: .seconds(4))
        #expect(breaker.failed(at: start) == nil)
        #expect(breaker.admits(at: start) == true)
        #expect(breaker.failed(at: start) == .opened)
        #expect(breaker.admits(at: start + .milliseconds(999)) == false)
        #expect(breaker.admits(at: start + .seconds(1)) == true)
        #expect(breaker.admits(at: start + .seconds(1)) == false, "a second caller during the trial")
        #expect(breaker.succeeded() == .closed)
        #expect(breaker.isClosed)
    }

    @Test func `waits twice as long after each failed trial, up to the cap`() {
        var breaker = Breaker(tolerance: 1, pause: .seconds(1), cap: .seconds(3))
        var now = start
        #expect(breaker.failed(at: now) == .opened)
        for pause in [1, 2, 3, 3] {
            #expect(breaker.admits(at: now + .seconds(pause) - .nanoseconds(1)) == false)
            now = now + .seconds(pause)
            #expect(breaker.admits(at: now) == true)
            #expect(breaker.failed(at: now) == nil, "one log line, not one for each trial")
        }
        #expect(breaker.admits(at: now + .seconds(3)) == true)
        _ = breaker.succeeded()
        #expect(breaker.failed(at: now) == .opened)
        #expect(breaker.admits(at: now + .seconds(1)) == true, "the pause starts over after a success")
    }

    @Test func `a success between failures starts the count anew`() {
        var breaker = Breaker(tolerance: 2)
        _ = breaker.failed(at: start)
        #expect(breaker.succeeded() == nil)
        #expect(breaker.failed(at: start) == nil)
    }

    @Test func `an abandoned trial lets another try at once`() {
        var breaker = Breaker(tolerance: 1, pause: .seconds(1), cap: .seconds(4))
        _ = breaker.failed(at: start)
        let now = start + .seconds(1)
        #expect(breaker.admits(at: now) == true)
        breaker.abandoned(at: now)
        #expect(breaker.admits(at: now) == true)
    }

    @Test func `failures of callers that were on their way change nothing while it is open`() {
        var breaker = Breaker(tolerance: 1, pause: .seconds(1), cap: .seconds(4))
        _ = breaker.failed(at: start)
        #expect(breaker.failed(at: start + .milliseconds(50)) == nil)
        #expect(breaker.admits(at: start + .seconds(1)) == true)
    }
}
