import Probes
import Vitals

func families(of alerts: AlertsSnapshot) -> [MetricFamily] {
    typealias Names = Catalogue.Alerts
    var open = MetricFamily(Names.alerts)
    // 0 where there is none: a rule that asks for it must find a series.
    for severity in [HealthState.degraded, .critical] {
        for phase in [AlertState.Phase.firing, .held] {
            open.add(alerts.count(severity: severity, phase: phase), severity.rawValue, phase.rawValue)
        }
    }
    var attempts = MetricFamily(Names.attempts)
    var lag = MetricFamily(Names.deliveryLag)
    var queue = MetricFamily(Names.queueLength)
    var deadLetters = MetricFamily(Names.deadLetters)
    for receiver in alerts.receivers {
        for (result, count) in receiver.attempts { attempts.add(count, receiver.name, result.rawValue) }
        lag.add(receiver.lag, receiver.name)
        queue.add(receiver.queued, receiver.name)
        deadLetters.add(receiver.deadLetters, receiver.name)
    }
    var suppressed = MetricFamily(Names.suppressed)
    for (reason, count) in alerts.suppressed { suppressed.add(count, reason.rawValue) }
    return [open, attempts, lag, queue, deadLetters, suppressed]
}
