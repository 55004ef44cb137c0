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

    init(_ destination: LogDestination, bounds: LogBacklog = LogBacklog(), time: any TimeSource) {
        let lost = Counter()
        let readerIsGone = Mutex(false)
        self.lost = lost
        self.time = time
        backlog = Outlet(bounds, name: "log", time: time) { item in
            let record: LogRecord =
                switch item {
                case .record(let record): record
                case .gap(let lines, let period): LogRecord(droppedLines: lines, within: period, at: time.wallNow())
                }
            if destination == .journal, Libsystemd.writeToJournal(JournalFields.fields(of: record)) { return }
            guard !readerIsGone.withLock({ $0 }) else { return lost.add() }
            switch StandardError.write(LogLine.text(of: record, stamp: Self.stamp(record.at)) + "\n") {
            case .written: break
            case .notWritten: lost.add()
            case .readerIsGone:
                lost.add()
                readerIsGone.withLock { $0 = true }
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
