import Probes
import Vitals

/// Whether what is still to be told would survive us.
enum AlertWatch {
    static func probe(_ store: LocalStore, interval: Duration, timeout: Duration) -> Probe {
        Probe(id: "alerts", component: "alerts", interval: interval, timeout: timeout) {
            if let trouble = store.trouble { throw ProbeFailure(.error, trouble.oneLine(limit: 300)) }
            return Measurement()
        }
    }
}
