import Dispatch
import Glibc
import Logging
import Synchronization
import TestServers
import Testing
import Vitals

@testable import healthd

/// A queue of texts, as plain as can be.
private struct Texts: OutletQueue {
    var texts: [String] = []
    var isEmpty: Bool { texts.isEmpty }

    mutating func next(now: MonotonicInstant) -> String? { texts.isEmpty ? nil : texts.removeFirst() }
}

/// A reader that can stop reading.
private final class Reader: Sendable {
    private let gate = DispatchSemaphore(value: 0)
    private let isReading: Mutex<Bool>
    let read = Mutex<[String]>([])

    init(isReading: Bool) { self.isReading = Mutex(isReading) }

    func take(_ text: String) {
        if !isReading.withLock({ $0 }) {
            gate.wait()
            gate.signal()
        }
        read.withLock { $0.append(text) }
    }

    func pause() {
        isReading.withLock { $0 = false }
        // Takes back what `resume` left open.
        _ = gate.wait(timeout: .now())
    }

    func resume() {
        isReading.withLock { $0 = true }
        gate.signal()
    }

    var texts: [String] { read.withLock { $0 } }
}

@Suite struct `An outlet` {
    @Test func `sends everything in order, on a thread of its own`() async throws {
        let reader = Reader(isReading: true)
        let outlet = Outlet(Texts(), name: "test", time: SystemTime()) { reader.take($0) }
        let texts = (0..<1_000).map { "\($0)" }
        for text in texts { outlet.change { $0.texts.append(text) } }
        #expect(outlet.flush(within: .seconds(10)))
        #expect(reader.texts == texts)
    }

    @Test func `keeps nobody who sends, and no flush longer than it may take`() async throws {
        let reader = Reader(isReading: false)
        defer { reader.resume() }
        let outlet = Outlet(Texts(), name: "test", time: SystemTime()) { reader.take($0) }
        for number in 0..<100 { outlet.change { $0.texts.append("\(number)") } }
        let (began, patience) = (MonotonicInstant.now(), Duration.milliseconds(50))
        #expect(!outlet.flush(within: patience))
        #expect(MonotonicInstant.now() - began >= patience)
        #expect(reader.texts == [])
        reader.resume()
        try await until("all is read") { reader.texts.count == 100 }
        #expect(outlet.flush(within: .seconds(10)))
    }

    @Test func `forgets a flush that gave up, and drains for the next one`() async throws {
        let reader = Reader(isReading: false)
        defer { reader.resume() }
        let outlet = Outlet(Texts(), name: "test", time: SystemTime()) { reader.take($0) }
        outlet.change { $0.texts.append("first") }
        #expect(!outlet.flush(within: .milliseconds(1)))
        reader.resume()
        try await until("the first is read") { reader.texts.count == 1 }
        #expect(outlet.flush(within: .seconds(10)))
        reader.pause()
        outlet.change { $0.texts.append("second") }
        // Whoever is told that all is out too early reads "true" here.
        #expect(!outlet.flush(within: .milliseconds(50)))
        reader.resume()
        #expect(outlet.flush(within: .seconds(10)))
        #expect(reader.texts == ["first", "second"])
    }

    @Test func `has nothing to flush before there was anything`() {
        let outlet = Outlet(Texts(), name: "test", time: SystemTime()) { _ in }
        #expect(outlet.flush(within: .zero))
    }
}

@Suite struct `Standard error` {
    /// A pipe's two ends; small, so that it is full soon.
    private func pipe() throws -> (read: Int32, write: Int32) {
        var ends: [Int32] = [0, 0]
        try #require(Glibc.pipe(&ends) == 0)
        return (ends[0], ends[1])
    }

    @Test func `gives up at its deadline when the pipe is full`() throws {
        let (read, write) = try pipe()
        defer {
            close(read)
            close(write)
        }
        let text = String(repeating: "x", count: 1 << 20)
        #expect(DescriptorText.write(text, to: write, until: .now() + .milliseconds(50)) == .late)
        // What fits was written.
        var taken = [UInt8](repeating: 0, count: 1 << 20)
        #expect(Glibc.read(read, &taken, taken.count) >= 4_096)
        #expect(DescriptorText.write("more", to: write, until: .now() + .seconds(10)) == nil)
    }

    @Test func `knows when nobody reads any more`() throws {
        let (read, write) = try pipe()
        defer { close(write) }
        close(read)
        var pipe = sigset_t()
        sigemptyset(&pipe)
        sigaddset(&pipe, SIGPIPE)
        pthread_sigmask(SIG_BLOCK, &pipe, nil)
        #expect(DescriptorText.write("x", to: write) == .errno(EPIPE))
        #expect(DescriptorText.write("x", to: write, until: .now() + .seconds(10)) == .errno(EPIPE))
        #expect(DescriptorText.write("x", to: -1) == .errno(EBADF))
    }
}

@Suite struct `The log's writer` {
    private func record(_ message: String) -> LogRecord {
        LogRecord(at: WallTime(secondsSince1970: 0), level: .info, message: message)
    }

    /// All lines in a descriptor that does not block.
    private func lines(in descriptor: Int32) -> [Substring] {
        var bytes = [UInt8](repeating: 0, count: 65_536)
        let count = Glibc.read(descriptor, &bytes, bytes.count)
        return String(decoding: bytes[..<max(0, count)], as: UTF8.self).split(separator: "\n")
    }

    @Test func `writes lines with their priority when there is no journal behind standard error, and looks for it each time`() throws {
        var ends: [Int32] = [0, 0]
        try #require(Glibc.pipe(&ends) == 0)
        defer { ends.forEach { _ = close($0) } }
        let isThere = Atomic(false)
        let entries = Counter()
        let writer = LogWriter(
            .journal, time: SystemTime(),
            journal: { _ in
                if isThere.load(ordering: .relaxed) { entries.add() }
                return isThere.load(ordering: .relaxed)
            }, descriptor: ends[1])
        writer.write(record("without a journal"))
        writer.flush(within: .seconds(10))
        let written = lines(in: ends[0])
        #expect(written.count == 1 && written[0].hasPrefix("<6>19") && written[0].hasSuffix("[healthd] without a journal"), "\(written)")
        isThere.store(true, ordering: .relaxed)
        writer.write(record("with one"))
        writer.flush(within: .seconds(10))
        #expect(entries.value == 1 && writer.droppedLines == 0)
    }

    @Test func `is told when there is no journal, which libsystemd does not say`() {
        let isThere = access(Libsystemd.journalSocket, F_OK) == 0
        #expect(Libsystemd.writeToJournal([Array("MESSAGE=a test of healthd".utf8)]) == isThere)
    }

    @Test func `goes on when a FIFO has a reader again, and says what is missing`() throws {
        let path = "/tmp/healthd-test-\(getpid())-\(MonotonicInstant.now().nanoseconds)"
        try #require(mkfifo(path, 0o600) == 0)
        defer { unlink(path) }
        var reader = open(path, O_RDONLY | O_NONBLOCK)
        let descriptor = open(path, O_WRONLY)
        try #require(reader >= 0 && descriptor >= 0)
        defer {
            close(reader)
            close(descriptor)
        }
        let writer = LogWriter(.lines, time: SystemTime(), descriptor: descriptor)
        writer.write(record("one"))
        writer.flush(within: .seconds(10))
        #expect(lines(in: reader).count == 1)

        close(reader)
        for number in 0..<3 { writer.write(record("lost \(number)")) }
        writer.flush(within: .seconds(10))
        #expect(writer.droppedLines == 3)

        reader = open(path, O_RDONLY | O_NONBLOCK)
        writer.write(record("two"))
        writer.flush(within: .seconds(10))
        let written = lines(in: reader)
        #expect(written.count == 2 && written.last?.hasSuffix("[healthd] two") == true, "\(written)")
        #expect(written.first?.contains("lines=3") == true)
        #expect(written.first?.hasSuffix("3 lines are missing because they could not be written") == true)
        #expect(writer.droppedLines == 3)
    }
}
