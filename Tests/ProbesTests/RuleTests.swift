import Probes
import Testing

@Suite struct `A rule` {
    @Test func `takes from the settings what they say and keeps the rest`() {
        let rule = Rule.poolSaturation().adjusted(by: RuleSettings(critical: 0.99, leaveAfter: .seconds(1)))
        guard case .value(let value) = rule.condition else { return }
        #expect(value.critical == 0.99)
        #expect(value.degraded == 0.8)
        #expect(value.leaveDegraded == 0.7)
        #expect(rule.leaveAfter == .seconds(1))
        #expect(rule.problems.isEmpty)
    }

    @Test(arguments: [
        (RuleSettings(degraded: 0.99), "pool-saturation: critical is 0.95, expected it above degraded, which is 0.99"),
        (RuleSettings(leave: 0.9), "pool-saturation: leave is 0.9, expected it not above 0.8, where the state is entered"),
        (RuleSettings(critical: .infinity), "pool-saturation: a threshold must be a finite number"),
        (RuleSettings(enterAfter: .seconds(-1)), "pool-saturation: a dwell cannot be negative"),
    ])
    func `names thresholds that cannot be`(_ settings: RuleSettings, _ problem: String) {
        #expect(Rule.poolSaturation().adjusted(by: settings).problems.contains(problem))
    }

    @Test(arguments: [
        (Unit.ratio, 1.5, "150 %"), (.ratio, 0.856, "85.6 %"), (.seconds, 0.25, "250 ms"), (.number, 3, "3"),
        (.bytes, 3_500_000, "3.3 MiB"),
    ])
    func `writes values with their unit`(_ unit: Probes.Unit, _ value: Double, _ text: String) {
        #expect(unit.text(value) == text)
    }
}
