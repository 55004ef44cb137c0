import Testing
import Vitals

@testable import Probes

/// How long an alert lasts, on clocks that are set.
@Suite struct AlertDurationTests: AlertPlay {
    let stage: AlertStage

    init() throws { stage = try AlertStage() }

    private func expectLast(toHaveLasted duration: Duration) throws {
        let end = try #require(sender.bodies().last)
        #expect(end.status == "resolved")
        #expect(end.healthd.durationSeconds == duration.seconds)
        let alert = try #require(end.alerts.first)
        #expect(alert.annotations["duration"] == duration.text)
        #expect(alert.annotations["summary"]?.contains(" after \(duration.text): ") == true, "\(alert.annotations["summary"] ?? "")")
        // RFC 3339 in UTC: the later text is the later time.
        #expect(alert.endsAt >= alert.startsAt)
    }

    @Test("B: an outage of a minute has lasted a minute, whatever the wall clock did meanwhile", arguments: [0, 20_000 * 86_400, -86_400, -30])
    func setWhileItRuns(seconds: Int) async throws {
        try await running(line()) { line in
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            try await untilOpen(1, line)
            time.advance(by: .seconds(20))
            time.jumpWall(by: .seconds(seconds))
            time.advance(by: .seconds(40))
            #expect(line.dispatcher.snapshot().open.first?.age == .seconds(60))
            line.pool(0.1, time: time)
            try await untilAttempts(2)
        }
        try expectLast(toHaveLasted: .seconds(60))
    }

    @Test("B: what came before a start is as long ago as the wall clock says, and never less than nothing", arguments: [(0, 100), (3_600, 3_700), (-7_200, 40)])
    func setBetweenTwoProcesses(seconds: Int, lasted: Int) async throws {
        try await running(line()) { line in
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            try await untilQueued(0, line)
            time.advance(by: .seconds(60))
        }
        time.jumpWall(by: .seconds(seconds))
        try await running(line()) { line in
            try await untilOpen(1, line)
            line.pool(1.5, time: time)
            time.advance(by: .seconds(40))
            #expect(line.dispatcher.snapshot().open.first?.age == .seconds(lasted))
            line.pool(0.1, time: time)
            try await untilAttempts(2)
        }
        try expectLast(toHaveLasted: .seconds(lasted))
    }

    @Test("B: one that flapped has lasted until it became good, and a rule that goes ends it then", arguments: [20_000 * 86_400, -86_400])
    func held(seconds: Int) {
        let policy = Flapping.Policy()
        var (state, now, wall) = (AlertState(), MonotonicInstant.start, WallTime(secondsSince1970: 1_800_000_000))
        for step in 0..<7 {
            if step == 3 { wall = wall + .seconds(seconds) }
            (state, _) = state.advanced(by: step.isMultiple(of: 2) ? .critical : .healthy, reason: "", flapping: policy, now: now, wall: wall)
            (now, wall) = (now + .seconds(10), wall + .seconds(10))
        }
        #expect(state.phase == .held && state.isBad)
        (state, _) = state.advanced(by: .healthy, reason: "", flapping: policy, now: now, wall: wall)
        // It opened for the third time 30 s ago, and then flapped.
        let later = now + .seconds(500)
        #expect(state.calmed(flapping: policy, now: later).0.lasted == .seconds(30))
        #expect(state.removed(now: later).0.lasted == .seconds(30))
        #expect(state.age(at: later) == .seconds(530))
    }

    @Test("B: a clock that is centuries ahead ends nothing")
    func centuries() {
        var state = AlertState()
        (state, _) = state.advanced(
            by: .critical, reason: "", flapping: Flapping.Policy(), now: .start, wall: WallTime(secondsSince1970: -62_000_000_000))
        let restored = state.restored(flapping: Flapping.Policy(), now: .start, wall: WallTime(secondsSince1970: 253_000_000_000))
        #expect(restored.age(at: .start + .seconds(1)) > .seconds(99 * 365 * 86_400))
    }
}
