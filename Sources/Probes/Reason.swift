import Vitals

/// The sentence of a verdict: what, how much, against which threshold, and what it still waits for.
func reason(
    _ rule: Rule, _ state: HealthState, _ reading: Reading, _ standing: Standing, base: HealthState, newest: Sample
) -> String {
    switch rule.condition {
    case .failures: failureReason(rule, state, reading, standing, base: base, newest: newest)
    case .value(let value): valueReason(rule, value, state, reading, standing, base: base, newest: newest)
    }
}

private func failureReason(
    _ rule: Rule, _ state: HealthState, _ reading: Reading, _ standing: Standing, base: HealthState, newest: Sample
) -> String {
    let cause = standing.cause ?? "failing"
    let count = "\(reading.badCount) of the last \(reading.of) probes failed"
    guard newest.outcome == .ok else {
        return "\(rule.title) \(cause) (\(count))"
    }
    switch state {
    case .healthy: return "\(rule.title) answers in \(newest.duration.text)"
    case .degraded:
        if let complaint = newest.measurement?.complaint { return "\(rule.title) answers, but \(complaint)" }
        return "\(rule.title) is flaky: \(count), last \(cause)"
    case .critical, .unknown:
        let good = standing.underDegraded.map { newest.at - $0 } ?? .zero
        return "\(rule.title) answers again, for \(good.text) of \(rule.leaveAfter.text); before that \(cause)"
    }
}

private func valueReason(
    _ rule: Rule, _ limits: Rule.Value, _ state: HealthState, _ reading: Reading, _ standing: Standing, base: HealthState,
    newest: Sample
) -> String {
    guard let value = reading.value else { return "\(rule.title): nothing to judge" }
    let beyond = limits.direction == .higherIsWorse ? "from" : "down to"
    let before = limits.direction == .higherIsWorse ? "below" : "above"
    var text = "\(rule.title) \(limits.unit.text(value))"
    let recovering = standing.underDegraded ?? standing.underCritical
    if state.isBad || state == .unknown, base.isBad, let recovering, reading.votes < base, let leave = limits.leave(of: base) {
        let reached = standing.underDegraded != nil ? limits.leaveDegraded ?? leave : leave
        text += ", \(before) \(limits.unit.text(reached)) for \((newest.at - recovering).text) of \(rule.leaveAfter.text)"
    } else if state.isBad {
        if reading.alone >= state, let enter = state == .critical ? limits.critical : limits.degraded {
            text += ", \(state.rawValue) \(beyond) \(limits.unit.text(enter))"
        } else if let leave = limits.leave(of: state) {
            text += ", \(state.rawValue) until \(before) \(limits.unit.text(leave))"
        }
    } else if reading.alone.isBad {
        text += ", \(reading.badCount) of \(reading.of) samples too \(limits.direction == .higherIsWorse ? "high" : "low")"
        if rule.enterAfter > .zero, let since = standing.overDegraded {
            text += " for \((newest.at - since).text) of \(rule.enterAfter.text)"
        }
    }
    if let summary = newest.measurement?.summary { text += " (\(summary))" }
    return text
}

extension Rule.Value {
    func leave(of state: HealthState) -> Double? { state == .critical ? leaveCritical : leaveDegraded }
}

extension Rule {
    func threshold(for state: HealthState, reading: Reading) -> Double? {
        guard case .value(let value) = condition else { return nil }
        switch state {
        case .critical: return value.critical
        case .degraded: return value.degraded
        case .healthy, .unknown: return value.degraded ?? value.critical
        }
    }
}
