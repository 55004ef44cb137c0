import Testing
import Vitals

@testable import healthd

private func at(_ seconds: Double) -> MonotonicInstant { MonotonicInstant(nanoseconds: Int64(seconds * 1e9)) }

private func part(_ name: String, _ lastProgress: Double, cycle: Double = 1) -> WatchdogGate.Part {
    WatchdogGate.Part(name: name, lastProgress: at(lastProgress), cycle: .seconds(cycle))
}

private func stall(_ name: String, age: Double, limit: Double = 10) -> WatchdogGate.Stall {
    WatchdogGate.Stall(part: name, age: .seconds(age), limit: .seconds(limit))
}

@Suite struct `Watchdog gate` {
    @Test(
        arguments: [
            (parts: [], answer: .ping),
            (parts: [part("event loop", 99), part("probe redis", 98)], answer: .ping),
            (parts: [part("event loop", 90)], answer: .ping),
            (parts: [part("event loop", 89)], answer: .withhold(stall("event loop", age: 11))),
            (parts: [part("event loop", 80)], answer: .withhold(stall("event loop", age: 20))),
            (parts: [part("event loop", 79)], answer: .trigger(stall("event loop", age: 21))),
            (parts: [part("event loop", 99), part("probe redis", 88)], answer: .withhold(stall("probe redis", age: 12))),
            (parts: [part("event loop", 85), part("probe redis", 84)], answer: .withhold(stall("probe redis", age: 16))),
            // A probe that runs once an hour is not stalled because it is not running now.
            (parts: [part("probe hourly", 50, cycle: 3_600)], answer: .ping),
            (parts: [part("slow", 60, cycle: 30), part("fast", 85)], answer: .withhold(stall("slow", age: 40, limit: 30))),
            // Progress reported by a clock read a moment later than ours.
            (parts: [part("event loop", 101)], answer: .ping),
        ] as [(parts: [WatchdogGate.Part], answer: WatchdogGate.Answer)])
    func `answers for a watchdog of 20 s at second 100`(parts: [WatchdogGate.Part], answer: WatchdogGate.Answer) {
        var gate = WatchdogGate(timeout: .seconds(20))
        #expect(gate.look(at: parts, now: at(100)) == answer)
    }

    @Test(arguments: [20.0, 0.5, 4]) func `turns at least twice within the time`(timeout: Double) {
        #expect(WatchdogGate(timeout: .seconds(timeout)).interval <= .seconds(timeout) / 2)
    }

    @Test func `pings again once the part is back`() {
        var gate = WatchdogGate(timeout: .seconds(20))
        #expect(gate.look(at: [part("event loop", 85)], now: at(100)) == .withhold(stall("event loop", age: 15)))
        #expect(gate.look(at: [part("event loop", 104)], now: at(105)) == .ping)
    }

    @Test func `gives every part its time anew after the whole process was stopped`() {
        var gate = WatchdogGate(timeout: .seconds(20))
        #expect(gate.look(at: [part("event loop", 100)], now: at(100)) == .ping)
        #expect(gate.look(at: [part("event loop", 100)], now: at(160)) == .ping)
        #expect(gate.look(at: [part("event loop", 100)], now: at(165)) == .ping)
        guard case .trigger = gate.look(at: [part("event loop", 100)], now: at(171)) else {
            Issue.record("a part that never came back must not be forgiven twice")
            return
        }
    }

    @Test func `names the part, its age and its limit`() {
        #expect(stall("probe postgres", age: 12).description == "probe postgres has made no progress for 12 s (limit 10 s)")
    }
}
