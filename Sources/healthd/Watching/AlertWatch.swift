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

    /// For how long a trouble that is over must be told of, so that the verdict has time to see it: as many looks as its rule counts, and the rule's patience.
    static func news(by configuration: Configuration) -> Duration {
        let looks = configuration.boardRules(hasRedis: false).filter { $0.probe == "alerts" }
            .map { configuration.probes.interval * ($0.memory + 2) + $0.enterAfter }
        return max(LocalStore.damageIsNews, looks.max() ?? .zero)
    }
}
