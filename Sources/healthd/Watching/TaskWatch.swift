import AppCore
import Probes
import Vitals

/// Whether agent tasks get their turn.
enum TaskWatch {
    static func probe(_ worker: TaskWorker, interval: Duration, timeout: Duration) -> Probe {
        Probe(id: "tasks", component: "tasks", interval: interval, timeout: timeout) {
            let statistics = worker.statistics()
            var values = ["running": Double(statistics.running)]
            values["oldest-queued"] = statistics.oldestQueued?.seconds
            let queued = statistics.backlog?[.queued].map { ", \($0) queued" } ?? ""
            return Measurement(values: values, summary: "\(statistics.running) of \(statistics.limit) running\(queued)")
        }
    }
}
