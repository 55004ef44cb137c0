import Probes
import Vitals

/// Clients of our own HTTP server.
func families(of connections: Connections.Snapshot) -> [MetricFamily] {
    typealias Names = Catalogue.Connections
    var count = MetricFamily(Names.connections)
    for (phase, number) in connections.phases { count.add(number, phase.label) }
    var ended = MetricFamily(Names.closed)
    for (reason, number) in connections.ended { ended.add(number, reason.rawValue) }
    var failures = MetricFamily(Names.acceptFailures)
    for (reason, number) in connections.acceptFailures { failures.add(number, reason.rawValue) }
    return [
        count, MetricFamily(Names.maximum, connections.maximum), ended, failures, MetricFamily(Names.waiting, connections.waiting),
        MetricFamily(Names.waited, connections.waited.seconds),
    ]
}

extension ConnectionBook.Phase {
    fileprivate var label: String {
        switch self {
        case .header: "header"
        case .body: "body"
        case .answering: "answering"
        case .idle: "idle"
        }
    }
}
