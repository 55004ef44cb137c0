import Testing
import Vitals

@testable import Probes

@Suite struct `An alert` {
    private struct Play {
        var state = AlertState()
        var now = MonotonicInstant.start
        var wall = WallTime(secondsSince1970: 1_800_000_000)
        let flapping = Flapping.Policy()

        /// A letter a step, a second apart: `h` healthy, `u` unknown, `d` degraded, `c` critical, `.` two quiet minutes.
        mutating func play(_ word: String) -> [NoticeReason] {
            word.compactMap { letter -> NoticeReason? in
                now = now + .seconds(letter == "." ? 120 : 1)
                wall = wall + .seconds(letter == "." ? 120 : 1)
                let why: NoticeReason?
                if letter == "." {
                    (state, why) = state.calmed(flapping: flapping, now: now)
                } else {
                    let states: [Character: HealthState] = ["h": .healthy, "u": .unknown, "d": .degraded, "c": .critical]
                    (state, why) = state.advanced(
                        by: states[letter] ?? .unknown, reason: "\(letter)", value: letter == "c" ? 1.5 : 0.5, flapping: flapping, now: now,
                        wall: wall)
                }
                return why
            }
        }
    }

    @Test(arguments: [
        (word: "h", told: [NoticeReason]()),
        (word: "uuu", told: []),  // silence does not fire
        (word: "c", told: [.firing]),
        (word: "ccc", told: [.firing]),
        (word: "cuuu", told: [.firing]),  // nor resolve
        (word: "cuh", told: [.firing, .resolved]),
        (word: "cuc", told: [.firing]),
        (word: "dc", told: [.firing, .escalated]),
        (word: "dcdh", told: [.firing, .escalated, .resolved]),
        (word: "dcdcd", told: [.firing, .escalated, .escalated, .flapping]),
        (word: "dcdcdcdcdcdc.", told: [.firing, .escalated, .escalated, .flapping, .settled]),
        (word: "dcdcdcdcdcdch.", told: [.firing, .escalated, .escalated, .flapping, .resolved]),
        (word: "dcdcd.c", told: [.firing, .escalated, .escalated, .flapping, .settled, .escalated]),
        (word: "cdc.h", told: [.firing, .escalated, .resolved]),
        (word: "chch", told: [.firing, .resolved, .firing, .resolved]),
        (word: "chchc", told: [.firing, .resolved, .firing, .resolved, .flapping]),
        (word: "chchchchch", told: [.firing, .resolved, .firing, .resolved, .flapping]),
        // Ten minutes between: what was before them is forgotten.
        (word: "ch.....ch.....ch.....ch", told: [.firing, .resolved, .firing, .resolved, .firing, .resolved, .firing, .resolved]),
        (word: "chchch.", told: [.firing, .resolved, .firing, .resolved, .flapping, .resolved]),
        (word: "chchc.", told: [.firing, .resolved, .firing, .resolved, .flapping, .settled]),
        (word: "chchc.h", told: [.firing, .resolved, .firing, .resolved, .flapping, .settled, .resolved]),
        (
            word: "ch.ch.ch.ch.",
            told: [.firing, .resolved, .firing, .resolved, .flapping, .resolved, .firing, .resolved]
        ),
    ])
    func `A1: tells each change once, of a severity as well, and what changes all the time once for all of it`(_ row: (word: String, told: [NoticeReason])) {
        var play = Play()
        #expect(play.play(row.word) == row.told)
    }

    @Test(arguments: [(lowerIsWorse: false, peak: 0.8), (lowerIsWorse: true, peak: 0.05)])
    func `keeps the worst value of its time, the lowest where low is bad`(_ row: (lowerIsWorse: Bool, peak: Double)) {
        var state = AlertState()
        for (second, value) in [0.4, 0.8, 0.05, 0.3].enumerated() {
            (state, _) = state.advanced(
                by: .critical, reason: "test", value: value, lowerIsWorse: row.lowerIsWorse, flapping: Flapping.Policy(),
                now: .start + .seconds(second), wall: WallTime(secondsSince1970: 1_800_000_000))
        }
        #expect(state.peak == row.peak)
    }

    @Test func `has a peak of its own, and not that of the one before`() {
        var state = AlertState()
        for (second, (health, value)) in [(HealthState.critical, 0.9), (.healthy, 0.1), (.critical, 0.4)].enumerated() {
            (state, _) = state.advanced(
                by: health, reason: "test", value: value, flapping: Flapping.Policy(), now: .start + .seconds(second),
                wall: WallTime(secondsSince1970: 1_800_000_000))
            #expect(state.peak == (second < 2 ? 0.9 : 0.4))
        }
    }

    @Test func `keeps its beginning through escalation, and its peak`() {
        var play = Play()
        _ = play.play("d")
        let began = play.state.startsAt
        _ = play.play("cdc")
        #expect(play.state.startsAt == began)
        #expect(play.state.peak == 1.5)
        #expect(play.state.severity == .critical)
    }

    @Test func `that was stored open is not told again when still bad, and says so when it recovered meanwhile`() throws {
        for (seen, told) in [("c", [NoticeReason]()), ("ch", [.resolved]), ("h", [.recoveredWhileDown]), ("uuh", [.recoveredWhileDown])] {
            var first = Play()
            _ = first.play("c")
            var second = Play()
            second.state = try decoded(first.state).restored(flapping: second.flapping, now: second.now, wall: second.wall)
            #expect(second.state.isOpen)
            #expect(second.play(seen) == told)
        }
    }

    @Test func `that was stored held tells its final state after the start`() throws {
        var first = Play()
        _ = first.play("chchc")
        var second = Play()
        second.state = try decoded(first.state).restored(flapping: second.flapping, now: second.now, wall: second.wall)
        #expect(second.state.phase == .held)
        #expect(second.play("h") == [])
        #expect(second.play(".") == [.resolved])
    }

    @Test func `that was stored held and is still bad counts its quiet time anew, and settles`() throws {
        var first = Play()
        _ = first.play("chchc")
        var second = Play()
        second.now = second.now + .seconds(50)
        second.state = try decoded(first.state).restored(flapping: second.flapping, now: second.now, wall: second.wall)
        #expect(second.state.calmAt(flapping: second.flapping) == second.now + second.flapping.quiet)
        #expect(second.play("c") == [], "what was seen before is no change")
        #expect(second.state.calmed(flapping: second.flapping, now: second.now).1 == nil, "a second is not quiet enough")
        #expect(second.play(".") == [.settled])
        #expect(second.state.phase == .firing && second.state.severity == .critical)
    }

    @Test func `A1: a value that swings every 13 s is told as flapping once, with its final state, and fills no outbox`() {
        var play = Play()
        var told: [NoticeReason] = []
        for swing in 0..<1_000 {
            play.now = play.now + .seconds(12)
            told += play.play(swing % 2 == 0 ? "c" : "d")
        }
        #expect(told == [.firing, .escalated, .flapping] || told == [.firing, .escalated, .escalated, .flapping], "\(told)")
        #expect(play.play(".") == [.settled])
        #expect(play.state.severity == .degraded)
    }

    @Test func `is closed when its rule is removed`() {
        var play = Play()
        _ = play.play("c")
        #expect(play.state.removed(now: play.now).1 == .ruleRemoved)
        #expect(AlertState().removed(now: .start).1 == nil)
    }

    @Test func `has a fingerprint of its own that neither severity nor time changes`() {
        var record = AlertRecord(rule: "pool-saturation", component: "pool", instance: "a", unit: .ratio, state: AlertState())
        let fingerprint = record.fingerprint
        record.state.severity = .critical
        #expect(record.fingerprint == fingerprint)
        #expect(fingerprint == "2ad4a1e6df4be8fc")
        record.instance = "b"
        #expect(record.fingerprint != fingerprint)
    }

    private func decoded(_ state: AlertState) throws -> AlertState {
        try decode(AlertState.self, from: encode(state))
    }
}
