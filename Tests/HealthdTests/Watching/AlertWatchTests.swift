import Probes
import Testing
import Vitals

@testable import healthd

/// How long a trouble of the alert store that is over is told of: until the verdict has had the looks that it needs.
@Suite struct AlertWatchTests {
    @Test(
        "E: a damaged file is news until the verdict has seen it, however seldom it looks",
        arguments: [
            (nil, Duration.seconds(15)),
            ("probes: { interval: 60s }", .seconds(180)),
            ("probes: { interval: 60s }\nrules: { alert-store: { failures: 2, of: 3 } }", .seconds(300)),
            ("probes: { interval: 60s }\nrules: { alert-store: { enter-after: 10m } }", .seconds(780)),
        ] as [(String?, Duration)])
    func news(yaml: String?, lasts: Duration) throws {
        #expect(AlertWatch.news(by: try decode(yaml)) == lasts)
    }

    @Test("E: whenever the looks fall, the rule is critical after the first that sees it", arguments: [0, 1, 59])
    func looks(phase: Int) throws {
        let time = ManualTime()
        let configuration = try decode("probes: { interval: 60s }")
        let rule = Rule.alertStore()
        let board = HealthBoard(rules: [rule], evidence: [:], time: time)
        let end = time.now() + AlertWatch.news(by: configuration)
        time.advance(by: .seconds(phase))
        var states: [HealthState] = []
        for _ in 0..<6 {
            let result: Result<Measurement, ProbeFailure> = time.now() < end ? .failure(ProbeFailure(.error, "was set aside")) : .success(Measurement())
            board.record(
                Sample(
                    probe: rule.probe, component: rule.component, at: time.now(), wall: time.wallNow(), duration: .milliseconds(1), interval: .seconds(60),
                    result: result))
            states.append(board.snapshot().component(rule.component)?.state ?? .unknown)
            time.advance(by: .seconds(60))
        }
        #expect(states.contains(.critical) && states.last == .healthy)
    }
}
