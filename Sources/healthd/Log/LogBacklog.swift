import DequeModule
import Vitals

/// Records that wait for the log's reader, bounded in lines and in bytes.
///
/// When it is full, what comes is dropped and counted, until half of it is free again; then one line says how many are missing, at the
/// place where they are.
struct LogBacklog: OutletQueue {
    enum Item: Sendable, Hashable {
        case record(LogRecord)
        case gap(lines: Int, within: Duration)
    }

    private let lineLimit: Int
    private let byteLimit: Int
    private var items: Deque<Item> = []
    private var bytes = 0
    private var isFull = false
    private var gap: (lines: Int, since: MonotonicInstant)?
    /// Lines dropped since the start.
    private(set) var dropped = 0

    init(lines: Int = 1_000, bytes: Int = 1 << 20) {
        precondition(lines >= 2 && bytes > 0, "room for a line, and for the one that says what is missing")
        lineLimit = lines
        byteLimit = bytes
    }

    var isEmpty: Bool { items.isEmpty && gap == nil }

    mutating func offer(_ record: LogRecord, now: MonotonicInstant) {
        if isFull, items.count <= lineLimit / 2, bytes <= byteLimit / 2 { isFull = false }
        guard !isFull, items.count < lineLimit, bytes + record.size <= byteLimit else {
            isFull = true
            dropped += 1
            gap = (lines: (gap?.lines ?? 0) + 1, since: gap?.since ?? now)
            return
        }
        if let gap = takeGap(now: now) { items.append(gap) }
        items.append(.record(record))
        bytes += record.size
    }

    mutating func next(now: MonotonicInstant) -> Item? {
        // Nothing waits any more: what is missing is said though nobody logs.
        guard let item = items.popFirst() else { return takeGap(now: now) }
        if case .record(let record) = item { bytes -= record.size }
        return item
    }

    private mutating func takeGap(now: MonotonicInstant) -> Item? {
        guard let gap else { return nil }
        self.gap = nil
        return .gap(lines: gap.lines, within: now - gap.since)
    }
}
