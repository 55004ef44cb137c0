import Probes
import Testing
import Vitals

@Suite struct `A rule` {
    @Test(arguments: [
        (Unit.ratio, 1.5, "150 %"), (.ratio, 0.856, "85.6 %"), (.seconds, 0.25, "250 ms"), (.number, 3, "3"),
        (.bytes, 3_500_000, "3.3 MiB"),
    ])
    func `writes values with their unit`(_ unit: Probes.Unit, _ value: Double, _ text: String) {
        #expect(unit.text(value) == text)
    }

    /// Samples of `key`, a second apart; nil where there was nothing to judge.
    private func states(_ key: String, _ values: [Double?], by rule: Rule) -> String {
        ProbesTests.states(
            values.enumerated().map { second, value in
                sample(probe: rule.probe, at: .start + .seconds(second), .success(Measurement(values: value.map { [key: $0] } ?? [:])))
            }, by: rule)
    }

    @Test(arguments: [
        (values: [0.1, 0.1], becomes: "hh"),
        (values: [0.1, 3, 0.1], becomes: "hhh"),  // one slow look may be a vacuum
        (values: [0.1, 3, 3], becomes: "hhc"),
        (values: [0.1, 0.6, 0.1, 0.6], becomes: "hhhd"),
        (values: [nil, nil], becomes: "hh"),  // nobody asks anything at night
    ] as [(values: [Double?], becomes: String)])
    func `queries are slow when two looks of three are`(_ row: (values: [Double?], becomes: String)) {
        #expect(states("p99", row.values, by: .queryLatency()) == row.becomes)
    }

    @Test func `a cache is cold for half a minute before that is a trouble, and one that nobody asks is well`() {
        let rule = Rule.cacheHitRate()
        let cold = [Double?](repeating: 0.2, count: 30)
        #expect(states("hit-ratio", cold + [0.9], by: rule).last == "h")
        #expect(!states("hit-ratio", [0.9] + cold, by: rule).contains("d"))
        #expect(states("hit-ratio", [0.9] + cold + [0.2, 0.2, 0.2], by: rule).last == "d")
        #expect(states("hit-ratio", [nil, nil], by: rule) == "hh")
    }
}
