import Logging
import Testing
import Vitals

@testable import healthd

private func at(_ seconds: Int64) -> MonotonicInstant { MonotonicInstant(nanoseconds: seconds * 1_000_000_000) }

private func record(_ message: String) -> LogRecord { LogRecord(at: WallTime(secondsSince1970: 0), level: .info, message: message) }

extension LogBacklog.Item {
    /// The message, or `-3/7 s`: three lines missing within seven seconds.
    fileprivate var text: String {
        switch self {
        case .record(let record): record.message
        case .gap(let lines, let period): "-\(lines)/\(period.text)"
        }
    }
}

extension LogBacklog {
    fileprivate mutating func take(_ count: Int = .max, now: MonotonicInstant) -> [String] {
        var texts: [String] = []
        while texts.count < count, let item = next(now: now) { texts.append(item.text) }
        return texts
    }
}

@Suite struct `Backlog of the log` {
    @Test func `keeps the order, and nothing when all is taken`() {
        var backlog = LogBacklog(lines: 4)
        #expect(backlog.isEmpty)
        for name in ["a", "b", "c"] { backlog.offer(record(name), now: at(0)) }
        #expect(!backlog.isEmpty)
        #expect(backlog.take(now: at(1)) == ["a", "b", "c"])
        #expect(backlog.isEmpty && backlog.dropped == 0)
    }

    @Test func `drops what comes when it is full, and says how much where it is missing`() {
        var backlog = LogBacklog(lines: 4)
        for number in 1...7 { backlog.offer(record("\(number)"), now: at(Int64(number))) }
        #expect(backlog.dropped == 3)
        #expect(backlog.take(2, now: at(8)) == ["1", "2"])
        // Half of it is free.
        backlog.offer(record("8"), now: at(10))
        #expect(backlog.take(now: at(11)) == ["3", "4", "-3/5 s", "8"])
        #expect(backlog.isEmpty && backlog.dropped == 3)
    }

    @Test func `stays closed until half of it is free: one line about many, not one about each`() {
        var backlog = LogBacklog(lines: 10)
        for number in 1...11 { backlog.offer(record("\(number)"), now: at(0)) }
        for number in 12...16 {
            #expect(backlog.take(1, now: at(1)).count == 1)
            backlog.offer(record("\(number)"), now: at(1))
        }
        // 12 to 15 came while more than five waited.
        #expect(backlog.take(now: at(1)) == ["6", "7", "8", "9", "10", "-5/1 s", "16"])
    }

    @Test func `says what is missing though nobody logs any more`() {
        var backlog = LogBacklog(lines: 2)
        for number in 1...5 { backlog.offer(record("\(number)"), now: at(0)) }
        #expect(backlog.take(2, now: at(1)) == ["1", "2"])
        #expect(!backlog.isEmpty)
        #expect(backlog.take(now: at(2)) == ["-3/2 s"])
        #expect(backlog.isEmpty)
    }

    @Test func `is bounded in bytes as well`() {
        let size = record(String(repeating: "x", count: 1_000)).size
        var backlog = LogBacklog(lines: 1_000, bytes: 10 * size)
        for _ in 0..<50 { backlog.offer(record(String(repeating: "x", count: 1_000)), now: at(0)) }
        #expect(backlog.dropped == 40)
        #expect(backlog.take(now: at(0)).count == 11)
    }

    @Test func `has room again for the bytes that were taken`() {
        let text = String(repeating: "x", count: 1_000)
        var backlog = LogBacklog(lines: 1_000, bytes: 10 * record(text).size)
        for _ in 1...5 {
            for _ in 1...10 { backlog.offer(record(text), now: at(0)) }
            #expect(backlog.take(now: at(0)).count == 10)
        }
        #expect(backlog.dropped == 0)
    }

    @Test func `drops a line that is larger than all of it`() {
        var backlog = LogBacklog(lines: 10, bytes: 100)
        backlog.offer(record(String(repeating: "x", count: 1_000)), now: at(0))
        #expect(backlog.take(now: at(0)) == ["-1/0 s"])
    }
}
