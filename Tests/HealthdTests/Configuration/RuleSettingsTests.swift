@testable import Probes
import Testing
import Vitals

@testable import healthd

/// What an operator sets of a rule, and what then stands beside it.
@Suite struct `A rule's settings` {
    private func rule(_ name: String, _ settings: String) throws -> Rule {
        try #require(try decode("rules: { \(name): { \(settings) } }").rules.first { $0.name == name })
    }

    @Test(arguments: [
        ("failures: 3, of: 5", Rule.Votes(3, of: 5)), ("of: 9", Rule.Votes(2, of: 9)), ("of: 1", Rule.Votes(1, of: 1)), ("failures: 1", Rule.Votes(1, of: 3)),
    ])
    func `so many looks fail of so many as were set`(settings: String, votes: Rule.Votes) throws {
        let rule = try rule("postgres-down", settings)
        guard case .failures(let failures) = rule.condition else { return #expect(Bool(false), "a rule about failures") }
        #expect(failures.critical == votes)
        #expect(rule.settings["rules.postgres-down.failures"] == "\(votes.needed)" && rule.settings["rules.postgres-down.of"] == "\(votes.of)")
    }

    @Test(arguments: [
        ("degraded: 0.5", 0.5, 0.95, 0.4375), ("degraded: 0.9", 0.9, 0.95, 0.7875), ("degraded: off", nil, 0.95, 0.83125), ("critical: off", 0.8, nil, 0.7),
        ("degraded: 0.5, leave: 0.2", 0.5, 0.95, 0.2), ("leave: 0.75", 0.8, 0.95, 0.75),
    ] as [(String, Double?, Double?, Double)])
    func `the edge where it ends moves along in proportion, unless it is set itself`(settings: String, degraded: Double?, critical: Double?, leave: Double) throws {
        guard case .value(let value) = try rule("pool-saturation", settings).condition else { return #expect(Bool(false), "a rule about a value") }
        #expect(value.degraded == degraded && value.critical == critical && value.leaveDegraded == leave, "\(value)")
    }

    @Test func `the two times it waits are not taken for each other`() throws {
        let rule = try rule("query-latency", "enter-after: 3s, leave-after: 7s")
        #expect(rule.enterAfter == .seconds(3) && rule.leaveAfter == .seconds(7))
        #expect(rule.settings["rules.query-latency.enter-after"] == "3s" && rule.settings["rules.query-latency.leave-after"] == "7s")
    }

    /// As docs/CONFIGURATION.md promises: degraded, critical, leave, enter-after, leave-after.
    @Test(arguments: [
        ("pool-saturation", ["0.8", "0.95", "0.7", "0s", "10s"]), ("pool-unavailable", ["off", "1s", "1s", "0s", "300ms"]),
        ("postgres-down", [nil, nil, nil, "0s", "300ms"]), ("redis-down", [nil, nil, nil, "0s", "300ms"]), ("alert-store", [nil, nil, nil, "0s", "10s"]),
        ("query-latency", ["500ms", "2s", "400ms", "0s", "10s"]), ("cache-hit-rate", ["0.5", "off", "0.6", "30s", "10s"]),
        ("task-queue", ["30s", "5m", "10s", "0s", "10s"]), ("file-descriptors", ["0.8", "0.95", "0.7", "0s", "10s"]),
    ] as [(String, [String?])])
    func `are these where nothing is set`(name: String, values: [String?]) throws {
        let settings = try decode(nil).settings
        for (key, value) in zip(["degraded", "critical", "leave", "enter-after", "leave-after"], values) {
            #expect(settings["rules.\(name).\(key)"] == value, "\(key)")
        }
        #expect(Rule.standard.count == 9)
    }
}
