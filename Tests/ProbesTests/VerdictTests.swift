import Probes
import Testing
import Vitals

@Suite struct `A verdict on failures` {
    let rule = Rule(
        name: "probe-down", component: "component", probe: "probe", condition: .failures(Rule.Failures()), title: "postgres",
        leaveAfter: .milliseconds(500))

    @Test(arguments: [
        (samples: "v", becomes: "h"),
        (samples: "x", becomes: "u"),  // one failure is no vote for critical, and surely none for healthy
        (samples: "xx", becomes: "uc"),
        (samples: "vxx", becomes: "hhc"),
        (samples: "vtt", becomes: "hhc"),
        (samples: "vxvx", becomes: "hhhc"),
        (samples: "vxvvx", becomes: "hhhhh"),
        (samples: "vxxvv", becomes: "hhcch"),  // recovery takes its dwell
        (samples: "vxxvxv", becomes: "hhcccc"),
        (samples: "vxxvvx", becomes: "hhcchh"),  // the outage that ended has no votes any more
        (samples: "vxvvxvvxvv", becomes: "hhhhhhhddd"),  // H3: one in three is never two in a row
        (samples: "vxvvxvvxvvvvvvvv", becomes: "hhhhhhhddddddddh"),
    ])
    func `follows the votes`(_ row: (samples: String, becomes: String)) {
        #expect(states(samples(row.samples), by: rule) == row.becomes)
    }

    @Test(arguments: [
        (ProbeFailure(.unreachable, "connection refused"), "postgres down: connection refused (2 of the last 2 probes failed)"),
        (ProbeFailure(.timeout, "no reply within 500 ms"), "postgres not answering: no reply within 500 ms (2 of the last 2 probes failed)"),
        (ProbeFailure(.full, "100 of 100 connections in use"), "postgres full: 100 of 100 connections in use (2 of the last 2 probes failed)"),
        (ProbeFailure(.auth, "password refused for app"), "postgres locked out: password refused for app (2 of the last 2 probes failed)"),
    ])
    func `tells down from hung from full from locked out`(_ failure: ProbeFailure, _ reason: String) {
        let two = [0, 1].map { sample(at: .start + .seconds($0), .failure(failure)) }
        #expect(verdicts(two, by: rule).last?.reason == reason)
    }

    @Test func `says while it recovers how long it still takes`() throws {
        let reason = try #require(verdicts(samples("xxv"), by: rule).last?.reason)
        #expect(reason == "postgres answers again, for 0 s of 500 ms; before that down: connection refused")
    }
}

@Suite("A verdict on an answer with a complaint")
struct ComplaintTests {
    let rule = Rule.answers("postgres", probe: "probe")

    /// `v` well, `x` refused, `d` well with a complaint; a second apart.
    private func states(_ word: String) -> String {
        let list = word.enumerated().map { index, letter in
            letter == "d"
                ? sample(at: .start + .seconds(index), .success(Measurement(complaint: "takes no new connections: locked out: sorry")))
                : samples(String(letter), from: .start + .seconds(index))[0]
        }
        return ProbesTests.states(list, by: rule)
    }

    @Test("D11: an answer with a complaint is degraded at once, neither healthy nor down, and leaves as every state does", arguments: [
        (samples: "vd", becomes: "hd"), ("d", "d"), ("vdv", "hdd"), ("vdvv", "hddh"), ("vddxd", "hdddd"), ("vdxx", "hddc"), ("xxdd", "uccd"),
        ("vxxdv", "hhccd"), ("vxxddvv", "hhccddh"),
    ])
    func follows(samples: String, becomes: String) {
        #expect(states(samples) == becomes)
    }

    @Test("D11: it says what there is to complain of")
    func reason() {
        let found = sample(.success(Measurement(complaint: "takes no new connections: locked out: sorry")))
        #expect(verdicts([found], by: rule).last?.reason == "postgres answers, but takes no new connections: locked out: sorry")
    }
}

@Suite struct `A verdict on a value` {
    let rule = Rule(
        name: "pool-saturation", component: "pool", probe: "probe",
        condition: .value(Rule.Value("saturation", unit: .ratio, degraded: 0.8, critical: 0.95, leave: 0.7)),
        leaveAfter: .seconds(3))

    @Test(arguments: [
        (values: [0.1, 0.5], becomes: "hh"),
        (values: [0.1, 0.8], becomes: "hd"),
        (values: [0.1, 1.5], becomes: "hc"),  // H2: critical directly
        (values: [1.5], becomes: "c"),
        (values: [1, 0.1, 0.1, 0.1, 0.1], becomes: "cccch"),  // recovery after the dwell
        (values: [1, 0.1, 0.1, 0.72, 0.1, 0.1, 0.1, 0.1], becomes: "ccccdddh"),  // the dwell of degraded begins anew
        (values: [1, 0.9, 0.9, 0.9, 0.9], becomes: "ccccc"),  // between leave and enter the state stays
        (values: [1, 0.8, 0.8, 0.8, 0.8, 0.75], becomes: "ccccdd"),
        (values: [0.85, 0.75, 0.75, 0.75, 0.75], becomes: "ddddd"),
        (values: [0.85, 0.1, 0.1, 1, 0.1], becomes: "dddcc"),
    ])
    func `holds between its two edges`(_ row: (values: [Double], becomes: String)) {
        #expect(states(samples(row.values), by: rule) == row.becomes)
    }

    @Test func `keeps for critical the distance that leave has from degraded`() {
        guard case .value(let value) = Rule.poolSaturation().condition else { return }
        #expect(value.leaveCritical.map { ($0 * 100).rounded() } == 85)
    }

    @Test func `waits for the enter dwell, measured between samples`() {
        var slow = rule
        slow.enterAfter = .seconds(2)
        #expect(states(samples([1, 1, 1, 1]), by: slow) == "uucc")
        #expect(states(samples([0.1, 1, 1, 0.1, 1, 1, 1]), by: slow) == "hhhhhhc")
    }

    @Test func `can be bad when it is low`() {
        let rate = Rule(
            name: "cache-hit-rate", component: "redis", probe: "probe",
            condition: .value(
                Rule.Value("saturation", unit: .ratio, direction: .lowerIsWorse, degraded: 0.5, critical: 0.2, leave: 0.6)),
            leaveAfter: .seconds(1))
        #expect(states(samples([0.9, 0.5, 0.55, 0.55, 0.1, 0.4, 0.4, 0.7, 0.7]), by: rate) == "hdddccddh")
        let last = verdicts(samples([0.9, 0.5]), by: rate).last
        #expect(last?.reason == "cache hit rate 50 %, degraded down to 50 %")
    }

    @Test func `gives its reason with value, thresholds and summary`() {
        let bad = sample(
            .success(Measurement(values: ["saturation": 1.5], summary: "3 callers for 2 connections, oldest waits 400 ms")))
        let reasons = verdicts([bad] + samples([0.9, 0.1], from: .start + .seconds(1)), by: rule).map(\.reason)
        #expect(
            reasons == [
                "pool saturation 150 %, critical from 95 % (3 callers for 2 connections, oldest waits 400 ms)",
                "pool saturation 90 %, critical until below 85 %",
                "pool saturation 10 %, below 70 % for 0 s of 3 s",
            ])
    }

    @Test func `says nothing from a measurement that lacks the value`() {
        let without = sample(at: .start + .seconds(1), .success(Measurement()))
        #expect(states(samples([0.9]) + [without], by: rule) == "dd")
        #expect(!rule.concerns(without))
    }

    @Test func `takes a lack of anything to judge for clear where the rule says so`() {
        var quiet = rule
        quiet.condition = .value(Rule.Value("saturation", degraded: 0.8, critical: nil, absence: .clear))
        #expect(states([sample(.success(Measurement()))], by: quiet) == "h")
        #expect(states([sample(.failure(ProbeFailure(.error, "no")))], by: quiet) == "u")
    }
}

@Suite struct `Silence` {
    let rule = Rule.poolSaturation(probe: "probe")

    private func verdictAfter(_ silence: Duration, _ values: [Double]) -> Verdict {
        let fed = samples(values)
        var window = SampleWindow(fed, capacity: rule.memory)
        window = SampleWindow(window.samples, capacity: rule.memory)
        let standing = verdicts(fed, by: rule).last?.standing ?? Standing(since: .start)
        let last = fed.last?.at ?? .start
        return verdict(for: window, by: rule, was: standing, now: last + silence)
    }

    @Test func `is unknown before the first sample`() {
        let first = verdict(for: SampleWindow(capacity: 1), by: rule, was: Standing(since: .start), now: .start)
        #expect(first.state == .unknown)
        #expect(first.reason == "pool saturation: no sample yet")
    }

    @Test(arguments: [[0.1], [1.0]]) func `of three intervals is unknown`(_ values: [Double]) {
        #expect(verdictAfter(.seconds(3), values).state != .unknown)
        let stale = verdictAfter(.seconds(3) + .milliseconds(1), values)
        #expect(stale.state == .unknown)
        #expect(stale.reason == "pool saturation: no sample for 3 s, stale after 3 s")
    }

    @Test func `never heals, however long the dwell has lasted`() {
        // Good for 9 of the 10 seconds, then silence.
        #expect(verdictAfter(.seconds(2), [1] + Array(repeating: 0.1, count: 10)).state == .critical)
    }

    @Test func `does not let a bad state escape its dwell`() {
        var window = SampleWindow(capacity: rule.memory)
        var standing = Standing(since: .start)
        func feed(_ value: Double?, at second: Int) -> HealthState {
            let now = MonotonicInstant.start + .seconds(second)
            if let value { window.append(sample(at: now, .success(Measurement(values: ["saturation": value])))) }
            let verdict = verdict(for: window, by: rule, was: standing, now: now)
            standing = verdict.standing
            return verdict.state
        }
        #expect(feed(1, at: 0) == .critical)
        #expect(feed(nil, at: 4) == .unknown)
        #expect(feed(0.1, at: 5) == .unknown, "recovering, not yet healthy, and not critical on a good sample")
        for second in 6...14 { #expect(feed(0.1, at: second) == .unknown) }
        #expect(feed(0.1, at: 15) == .healthy)
    }

    @Test func `ends in the bad state it began in when that still holds`() {
        var window = SampleWindow(samples([1]), capacity: 1)
        let critical = verdict(for: window, by: rule, was: Standing(since: .start), now: .start)
        let silent = verdict(for: window, by: rule, was: critical.standing, now: .start + .seconds(5))
        window.append(sample(at: .start + .seconds(6), .success(Measurement(values: ["saturation": 0.9]))))
        #expect(verdict(for: window, by: rule, was: silent.standing, now: .start + .seconds(6)).state == .critical)
    }
}

@Suite struct `Any trace` {
    @Test(arguments: 1...40) func `gives the same verdicts twice and never leaves before its dwell`(_ seed: UInt64) {
        var random = Seeded(seed)
        let rule = Rule.poolSaturation(probe: "probe")
        var at = MonotonicInstant.start
        let trace = (0..<300).map { _ -> Sample in
            at = at + .milliseconds(Int64.random(in: 20...4_500, using: &random))
            return sample(at: at, .success(Measurement(values: ["saturation": Double.random(in: 0...1.2, using: &random)])))
        }
        let once = verdicts(trace, by: rule)
        #expect(once == verdicts(trace, by: rule))
        var lastBad: MonotonicInstant?
        var before = HealthState.unknown
        for (sample, verdict) in zip(trace, once) {
            let value = verdict.value ?? 0
            if value >= 0.7 { lastBad = sample.at }
            if value >= 0.95 { #expect(verdict.state == .critical) }
            if verdict.state == .healthy, before.isBad, let lastBad {
                #expect(sample.at - lastBad >= rule.leaveAfter)
            }
            before = verdict.state
        }
    }
}

struct Seeded: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    /// SplitMix64.
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
