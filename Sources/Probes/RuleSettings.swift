/// What a configuration may say about a rule; what it leaves out stays as the rule has it.
public struct RuleSettings: Sendable, Hashable {
    public var degraded: Double?
    public var critical: Double?
    /// Where the lowest bad state is left.
    public var leave: Double?
    public var enterAfter: Duration?
    public var leaveAfter: Duration?

    public init(
        degraded: Double? = nil, critical: Double? = nil, leave: Double? = nil, enterAfter: Duration? = nil, leaveAfter: Duration? = nil
    ) {
        self.degraded = degraded
        self.critical = critical
        self.leave = leave
        self.enterAfter = enterAfter
        self.leaveAfter = leaveAfter
    }
}

extension Rule {
    /// The rule with these settings in place of its own; ask `problems` before using it.
    public func adjusted(by settings: RuleSettings) -> Rule {
        var rule = self
        rule.enterAfter = settings.enterAfter ?? enterAfter
        rule.leaveAfter = settings.leaveAfter ?? leaveAfter
        if case .value(let value) = condition {
            rule.condition = .value(
                Value(
                    value.key, unit: value.unit, direction: value.direction, degraded: settings.degraded ?? value.degraded,
                    critical: settings.critical ?? value.critical, leave: settings.leave ?? value.leaveDegraded, votes: value.votes,
                    absence: value.absence))
        }
        return rule
    }

    /// What makes the thresholds impossible, a sentence each; empty when they can be used.
    public var problems: [String] {
        var problems: [String] = []
        if enterAfter < .zero || leaveAfter < .zero { problems.append("\(name): a dwell cannot be negative") }
        guard case .value(let value) = condition else { return problems }
        // As if higher were worse, whichever way the value runs.
        let sign: Double = value.direction == .higherIsWorse ? 1 : -1
        let beyond = value.direction == .higherIsWorse ? "above" : "below"
        let all = [value.degraded, value.critical, value.leaveDegraded, value.leaveCritical].compactMap { $0 }
        if all.contains(where: { !$0.isFinite }) { problems.append("\(name): a threshold must be a finite number") }
        if let degraded = value.degraded, let critical = value.critical, sign * critical < sign * degraded {
            problems.append("\(name): critical is \(critical), expected it \(beyond) degraded, which is \(degraded)")
        }
        if let lowest = value.degraded ?? value.critical, let leave = value.leaveDegraded ?? value.leaveCritical,
            sign * leave > sign * lowest
        {
            problems.append("\(name): leave is \(leave), expected it not \(beyond) \(lowest), where the state is entered")
        }
        return problems
    }
}
