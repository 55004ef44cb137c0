import Logging
import Vitals

#if canImport(Glibc)
    import Glibc
#endif

/// The log of this process: a global, like the standard error it stands for and the `LoggingSystem` it is given to.
enum ProgramLog {
    static let writer = LogWriter(.ofStandardError(), time: SystemTime())

    /// Before the first logger is made. From here on every way out of the process first writes what waits, for a second at most.
    static func begin() {
        LoggingSystem.bootstrap { label in WriterLogHandler(label: label, writer: writer, time: SystemTime()) }
        atexit { ProgramLog.writer.flush(within: .seconds(1)) }
    }
}

/// Gives swift-log's events to a `LogWriter`.
struct WriterLogHandler: LogHandler {
    let label: String
    let writer: LogWriter
    let time: any TimeSource
    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?
    var logLevel = Logger.Level.info

    init(label: String, writer: LogWriter, time: any TimeSource) {
        self.label = label
        self.writer = writer
        self.time = time
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var all = metadata
        if let provided = metadataProvider?.get() { all.merge(provided) { _, later in later } }
        if let own = event.metadata { all.merge(own) { _, later in later } }
        if let error = event.error { all["error"] = "\(error)" }
        writer.write(
            LogRecord(
                at: time.wallNow(), level: event.level, label: label, source: event.source, message: "\(event.message)", metadata: all,
                file: event.file, line: event.line, function: event.function))
    }
}
