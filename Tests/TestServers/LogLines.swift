public import Logging
import Synchronization

/// Keeps what is logged, a line each: `warning lease held unusually long age=2 s purpose=leaky`.
public final class LogLines: Sendable {
    private let lines = Mutex<[String]>([])

    public init() {}

    public var all: [String] { lines.withLock { $0 } }

    public var logger: Logger { Logger(label: "test") { _ in Handler(lines: self) } }

    private struct Handler: LogHandler {
        let lines: LogLines
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let details = (event.metadata ?? [:]).sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }.joined()
            lines.lines.withLock { $0.append("\(event.level) \(event.message)\(details)") }
        }
    }
}

extension Logger {
    /// For tests that do not look at what is logged, of parts that log a lot.
    public static let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
}
