import Synchronization
import Vitals

#if canImport(Glibc)
    import Glibc
#endif

/// Writes the log without ever keeping anybody waiting: what its reader does not take in time is dropped, counted, and said.
final class LogWriter: Sendable {
    private let backlog: Outlet<LogBacklog>
    private let lost: Counter
    private let time: any TimeSource

    /// - Parameters:
    ///   - journal: makes an entry of the journal from fields; false when it was not taken, and is to be a line.
    ///   - descriptor: where lines go.
    init(
        _ destination: LogDestination, bounds: LogBacklog = LogBacklog(), time: any TimeSource,
        journal: @escaping @Sendable ([[UInt8]]) -> Bool = Libsystemd.writeToJournal, descriptor: Int32 = STDERR_FILENO
    ) {
        let lost = Counter()
        self.lost = lost
        self.time = time
        let page = LogPage(destination, journal: journal, descriptor: descriptor)
        // Lines that could not be written, and that the log has not told of yet.
        let untold = Mutex<(lines: Int, since: MonotonicInstant)?>(nil)
        @Sendable func note(_ lines: Int) {
            let now = time.now()
            untold.withLock { $0 = (lines: ($0?.lines ?? 0) + lines, since: $0?.since ?? now) }
        }
        backlog = Outlet(bounds, name: "log", time: time) { item in
            // Each line is tried anew: a FIFO gets another reader, a disk gets room again.
            if let missing = untold.withLock({ $0 }),
                page.write(LogRecord(unwrittenLines: missing.lines, within: time.now() - missing.since, at: time.wallNow()))
            {
                untold.withLock { $0 = nil }
            }
            switch item {
            case .record(let record):
                guard !page.write(record) else { return }
                lost.add()
                note(1)
            case .gap(let lines, let period):
                // They are counted already.
                if !page.write(LogRecord(droppedLines: lines, within: period, at: time.wallNow())) { note(lines) }
            }
        }
    }

    func write(_ record: LogRecord) {
        let now = time.now()
        backlog.change { $0.offer(record, now: now) }
    }

    /// Lines that nobody will read: there was no room for them, or they could not be written.
    var droppedLines: Int { backlog.change { $0.dropped } + lost.value }

    /// Before the end of the process: waits until everything is written, at most for `limit`.
    func flush(within limit: Duration) { backlog.flush(within: limit) }
}

/// What the log is written on.
private struct LogPage: Sendable {
    let destination: LogDestination
    let journal: @Sendable ([[UInt8]]) -> Bool
    let descriptor: Int32

    init(_ destination: LogDestination, journal: @escaping @Sendable ([[UInt8]]) -> Bool, descriptor: Int32) {
        self.destination = destination
        self.journal = journal
        self.descriptor = descriptor
    }

    /// - Returns: whether all of it was written.
    func write(_ record: LogRecord) -> Bool {
        if destination == .journal, journal(JournalFields.fields(of: record)) { return true }
        // Standard error leads to the journal by another way, which takes the priority from here. Source: sd-daemon(3).
        let priority = destination == .journal ? "<\(JournalFields.priority(of: record.level))>" : ""
        let line = "\(priority)\(LogLine.text(of: record, stamp: Self.stamp(record.at)))\n"
        return DescriptorText.write(line, to: descriptor) == nil
    }

    /// Local time with its offset from UTC: `2026-11-26T03:12:45+0000`.
    private static func stamp(_ wall: WallTime) -> String {
        var seconds = time_t(wall.microsecondsSince1970 / 1_000_000)
        var local = tm()
        localtime_r(&seconds, &local)
        var buffer = [CChar](repeating: 0, count: 40)
        let count = strftime(&buffer, buffer.count, "%Y-%m-%dT%H:%M:%S%z", &local)
        return String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
