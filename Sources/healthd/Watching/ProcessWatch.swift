import Probes
import Vitals

/// Our own process: what it holds of what the kernel allows it.
enum ProcessWatch {
    /// - Parameters:
    ///   - connections: of our own HTTP server. When descriptors are what bounds them, as many as there may be is as bad as no descriptor
    ///     left, though the last ones are kept free for the program itself.
    static func probe(
        interval: Duration, timeout: Duration, reading: @escaping @Sendable () -> ProcessReading,
        connections: @escaping @Sendable () -> Connections.Snapshot
    ) -> Probe {
        Probe(id: "process", component: "process", interval: interval, timeout: timeout) {
            let process = reading()
            var values: [String: Double] = [:]
            values["resident-bytes"] = process.residentBytes.map(Double.init)
            values["threads"] = process.threads.map(Double.init)
            guard let open = process.openFDs, let limit = process.maxFDs, limit > 0 else {
                throw ProbeFailure(.error, "/proc/self cannot be read")
            }
            values["descriptors"] = Double(open) / Double(limit)
            var summary = "\(open) of \(limit) file descriptors open"
            let connections = connections()
            if connections.isShortOfDescriptors, connections.maximum > 0 {
                values["descriptors"] = max(Double(open) / Double(limit), Double(connections.count) / Double(connections.maximum))
                summary += ", \(connections.count) connections of the \(connections.maximum) that leaves room for"
            }
            return Measurement(values: values, summary: summary)
        }
    }
}
