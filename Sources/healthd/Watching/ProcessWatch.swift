import Probes
import Vitals

/// Our own process: what it holds of what the kernel allows it.
enum ProcessWatch {
    static func probe(interval: Duration, timeout: Duration, reading: @escaping @Sendable () -> ProcessReading = { .current() }) -> Probe {
        Probe(id: "process", component: "process", interval: interval, timeout: timeout) {
            let process = reading()
            var values: [String: Double] = [:]
            values["resident-bytes"] = process.residentBytes.map(Double.init)
            values["threads"] = process.threads.map(Double.init)
            guard let open = process.openFDs, let limit = process.maxFDs, limit > 0 else {
                throw ProbeFailure(.error, "/proc/self cannot be read")
            }
            values["descriptors"] = Double(open) / Double(limit)
            return Measurement(values: values, summary: "\(open) of \(limit) file descriptors open")
        }
    }
}
