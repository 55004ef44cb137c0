import Probes
import Vitals

/// Verdicts and the rules behind them.
func families(of board: BoardSnapshot) -> [MetricFamily] {
    typealias Names = Catalogue.Health
    var state = MetricFamily(Names.state)
    var severity = MetricFamily(Names.severity)
    var seconds = MetricFamily(Names.stateSeconds)
    var entered = MetricFamily(Names.stateEntered)
    var transitions = MetricFamily(Names.transitions)
    var detection = MetricFamily(Names.detectionDelay)
    for component in board.components {
        let name = component.id.rawValue
        state.add(state: component.state.rawValue, of: HealthState.allCases.map(\.rawValue), name)
        severity.add(component.state.severity, name)
        entered.add(component.since.secondsSince1970, name)
        for (state, spent) in component.secondsInState { seconds.add(spent, name, state.rawValue) }
        for (change, count) in component.transitions { transitions.add(count, name, change.from.rawValue, change.to.rawValue) }
        detection.add(component.detectionDelay, name)
    }

    var value = MetricFamily(Names.ruleValue)
    var threshold = MetricFamily(Names.ruleThreshold)
    for health in board.rules {
        value.add(health.value, health.rule.name)
        guard case .value(let limits) = health.rule.condition else { continue }
        threshold.add(limits.degraded, health.rule.name, "degraded", "enter")
        threshold.add(limits.leaveDegraded, health.rule.name, "degraded", "leave")
        threshold.add(limits.critical, health.rule.name, "critical", "enter")
        threshold.add(limits.leaveCritical, health.rule.name, "critical", "leave")
    }
    return [
        state, severity, seconds, entered, transitions, detection, value, threshold,
        MetricFamily(Names.evaluationDuration, board.evaluation),
    ]
}

/// What the probes' runners have counted.
///
/// - Parameter targets: components that are a thing outside this process; only those are up or down.
func families(of probes: [ProbeStatistics], targets: Set<ComponentID>) -> [MetricFamily] {
    typealias Names = Catalogue.Probing
    var up = MetricFamily(Names.targetUp)
    var info = MetricFamily(Names.targetInfo)
    var runs = MetricFamily(Names.runs)
    var duration = MetricFamily(Names.duration)
    var lastSuccess = MetricFamily(Names.lastSuccess)
    var staleness = MetricFamily(Names.staleness)
    var interval = MetricFamily(Names.interval)
    var overruns = MetricFamily(Names.overruns)
    for probe in probes {
        let (id, target) = (probe.probe.rawValue, probe.component.rawValue)
        for (outcome, count) in probe.runs { runs.add(count, id, target, outcome.rawValue) }
        duration.add(probe.duration, id, target)
        lastSuccess.add(probe.lastSuccess?.secondsSince1970, id, target)
        staleness.add(probe.staleness?.seconds, id, target)
        interval.add(probe.interval.seconds, id, target)
        overruns.add(probe.overruns, id, target)
        // A target is up when the probe of its own name says so; another looks at one side of it.
        guard targets.contains(probe.component), id == target else { continue }
        up.add(probe.up.map { $0 ? 1 : 0 }, target)
        if let version = probe.facts["version"] { info.add(info: target, version, probe.facts["role"] ?? "") }
    }
    return [up, info, runs, duration, lastSuccess, staleness, interval, overruns]
}
