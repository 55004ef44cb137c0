import Probes
import Testing
import Vitals

@Suite struct `The health board` {
    let time = ManualTime()

    private func value(_ value: Double, probe: ProbeID = "pool") -> Sample {
        Sample(
            probe: probe, component: "pool", at: time.now(), wall: time.wallNow(), duration: .milliseconds(1),
            interval: .seconds(1), result: .success(Measurement(values: ["saturation": value])))
    }

    private func failure(_ failure: ProbeFailure?, probe: ProbeID = "redis") -> Sample {
        Sample(
            probe: probe, component: ComponentID(probe.rawValue), at: time.now(), wall: time.wallNow(), duration: .milliseconds(1),
            interval: .seconds(1), result: failure.map { .failure($0) } ?? .success(Measurement()))
    }

    @Test func `knows nothing before the first sample`() {
        let board = HealthBoard(rules: [.poolSaturation(), .answers("redis")], time: time)
        let snapshot = board.snapshot()
        #expect(snapshot.overall == .unknown)
        #expect(snapshot.components.map(\.id) == ["pool", "redis"])
        #expect(snapshot.components.allSatisfy { $0.sampleAge == nil && $0.state == .unknown })
        #expect(snapshot.sentence.hasPrefix("Unknown since 08:00 UTC: pool saturation: no sample yet"))
    }

    @Test func `is as bad as its worst component and says since when and why`() {
        let board = HealthBoard(rules: [.poolSaturation(), .answers("redis")], time: time)
        board.record(value(0.2))
        board.record(failure(nil))
        #expect(board.snapshot().sentence == "Healthy since 08:00 UTC: all of pool, redis")
        time.advance(by: .seconds(120))
        board.record(value(1.5))
        board.record(failure(nil))
        let snapshot = board.snapshot()
        #expect(snapshot.overall == .critical)
        #expect(snapshot.sentence == "Critical since 08:02 UTC: pool saturation 150 %, critical from 95 %")
        #expect(snapshot.component("redis")?.state == .healthy)
        #expect(snapshot.rule("pool-saturation")?.value == 1.5)
    }

    @Test func `dates the verdict from where it began, whatever else changes while it lasts`() {
        let board = HealthBoard(rules: [.poolSaturation(), .answers("redis")], time: time)
        board.record(value(0.2))
        board.record(failure(nil))
        time.advance(by: .seconds(60))
        let began = time.wallNow()
        board.record(value(1.5))
        time.advance(by: .seconds(60))
        for _ in 1...2 { board.record(failure(ProbeFailure(.unreachable, "connection refused"))) }
        let snapshot = board.snapshot()
        #expect(snapshot.overallSince == began && snapshot.component("pool")?.since == began)
        #expect(snapshot.component("redis")?.state == .critical && snapshot.component("redis")?.since == began + .seconds(60))
        #expect(snapshot.sentence.hasPrefix("Critical since 08:01 UTC: pool saturation 150 %"), "\(snapshot.sentence)")
        #expect(snapshot.sentence.contains("; redis down: connection refused"), "\(snapshot.sentence)")
    }

    @Test func `hands transitions out in order, with the evidence of that moment`() throws {
        let evidence = Evidence(holders: [.init(purpose: "workspace.overview", ageSeconds: 2.1)])
        let board = HealthBoard(rules: [.poolSaturation()], evidence: ["pool": { evidence }], time: time)
        let seen = Collected<Transition>()
        board.observe { seen.add($0) }
        board.record(value(0.2))
        time.advance(by: .seconds(5))
        board.record(value(1))
        #expect(seen.all.map(\.to) == [.healthy, .critical])
        #expect(seen.all.map(\.number) == [1, 2])
        let last = try #require(seen.all.last)
        #expect(last.previousDuration == .seconds(5))
        #expect(last.evidence == evidence)
        #expect(last.value == 1)
        #expect(last.componentFrom == .healthy)
        #expect(board.snapshot().history.last?.evidence == evidence)
    }

    @Test func `lets an observer record without losing the order`() {
        let board = HealthBoard(rules: [.poolSaturation(), .answers("redis")], time: time)
        let seen = Collected<Int>()
        let again = failure(nil)
        board.observe { [board] transition in
            if transition.rule == "pool-saturation" { board.record(again) }
            seen.add(transition.number)
        }
        board.record(value(0.2))
        #expect(seen.all == [1, 2])
    }

    @Test func `goes unknown on a tick when samples stop, and counts time in each state`() throws {
        let board = HealthBoard(rules: [.poolSaturation()], time: time)
        time.advance(by: .seconds(2))
        board.record(value(0.2))
        time.advance(by: .seconds(3))
        board.tick(now: time.now())
        #expect(board.snapshot().overall == .healthy)
        time.advance(by: .seconds(1))
        board.tick(now: time.now())
        time.advance(by: .seconds(7))
        let pool = try #require(board.snapshot().component("pool"))
        #expect(pool.state == .unknown)
        #expect(pool.secondsInState == [.unknown: 9, .healthy: 4, .degraded: 0, .critical: 0])
        #expect(pool.transitions == [StateChange(from: .unknown, to: .healthy): 1, StateChange(from: .healthy, to: .unknown): 1])
        #expect(pool.lasting == .seconds(7))
        #expect(pool.sampleAge == .seconds(11))
    }

    @Test func `keeps its state and samples when thresholds are replaced, and judges by the new ones`() {
        let board = HealthBoard(rules: [.poolSaturation(), .answers("redis")], time: time)
        let seen = Collected<Transition>()
        board.record(value(0.85))
        board.observe { seen.add($0) }
        time.advance(by: .seconds(1))
        var stricter = Rule.poolSaturation()
        stricter.condition = .value(Rule.Value("saturation", unit: .ratio, degraded: 0.80, critical: 0.84, leave: 0.70))
        board.replace(rules: [stricter])
        #expect(seen.all.map(\.to) == [.critical])
        #expect(seen.all.map(\.from) == [.degraded])
        #expect(board.snapshot().components.map(\.id) == ["pool"])
        #expect(board.rules.map(\.name) == ["pool-saturation"])
    }

    @Test func `a wall clock that jumps changes no state and no age`() throws {
        let board = HealthBoard(rules: [.poolSaturation()], time: time)
        board.record(value(0.2))
        time.jumpWall(by: .seconds(3_600))
        board.tick(now: time.now())
        let pool = try #require(board.snapshot().component("pool"))
        #expect(pool.state == .healthy)
        #expect(pool.sampleAge == .zero)
        #expect(pool.lasting == .zero)
    }

    @Test func `measures how long it took to see`() throws {
        let board = HealthBoard(rules: [.answers("redis")], time: time)
        board.record(failure(nil))
        time.advance(by: .seconds(1))
        board.record(failure(ProbeFailure(.unreachable, "connection refused")))
        time.advance(by: .milliseconds(200))
        board.record(failure(ProbeFailure(.unreachable, "connection refused")))
        let delay = try #require(board.snapshot().component("redis")?.detectionDelay)
        #expect(delay.counts.reduce(0, +) == 1)
        #expect(abs(delay.sum - 0.2) < 0.001)
    }

    @Test func `measures each outage from its own first bad look`() throws {
        let board = HealthBoard(rules: [.answers("redis")], time: time)
        let refused = ProbeFailure(.unreachable, "connection refused")
        for _ in 1...2 {
            // As many good looks as a verdict looks back on, and some more.
            for _ in 1...15 {
                board.record(failure(nil))
                time.advance(by: .seconds(1))
            }
            board.record(failure(refused))
            time.advance(by: .milliseconds(200))
            board.record(failure(refused))
            time.advance(by: .seconds(1))
        }
        let delay = try #require(board.snapshot().component("redis")?.detectionDelay)
        #expect(delay.counts.reduce(0, +) == 2)
        #expect(abs(delay.sum - 0.4) < 0.001, "\(delay.sum)")
    }

    @Test func `keeps the latest changes, so many and no more`() {
        let board = HealthBoard(rules: [.answers("redis")], time: time)
        let refused = ProbeFailure(.unreachable, "connection refused")
        // Well, down, well again: two changes each time.
        while board.snapshot().history.last?.number ?? 0 < 250 {
            for result in [refused, refused, nil, nil] {
                board.record(failure(result))
                time.advance(by: .seconds(1))
            }
        }
        let history = board.snapshot().history
        let last = history.last?.number ?? 0
        #expect(history.map(\.number) == Array(last - 199...last))
    }

    @Test func `a time of another day is told with its day`() {
        let board = HealthBoard(rules: [.answers("redis")], time: time)
        board.record(failure(nil))
        #expect(board.snapshot().sentence == "Healthy since 08:00 UTC: all of redis")
        time.advance(by: .seconds(86_400 - 8 * 3_600 - 1))
        board.record(failure(nil))
        #expect(board.snapshot().sentence == "Healthy since 08:00 UTC: all of redis")
        time.advance(by: .seconds(1))
        board.record(failure(nil))
        #expect(board.snapshot().sentence == "Healthy since 2027-01-15 08:00 UTC: all of redis")
    }

    @Test func `ticks by itself`() async throws {
        let board = HealthBoard(rules: [.poolSaturation()], time: time)
        board.record(value(0.2))
        try await withThrowingDiscardingTaskGroup { group in
            group.addTask { await board.run() }
            try await time.run("it is unknown", step: .milliseconds(250)) { board.snapshot().overall == .unknown }
            group.cancelAll()
        }
        #expect(time.now() - .start > .seconds(3))
    }
}
