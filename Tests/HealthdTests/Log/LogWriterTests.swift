import Dispatch
import Glibc
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
        #expect(StandardError.write(text, until: .now() + .milliseconds(50), to: write) == .notWritten)
        // What fits was written.
        var taken = [UInt8](repeating: 0, count: 1 << 20)
        #expect(Glibc.read(read, &taken, taken.count) >= 4_096)
        #expect(StandardError.write("more", until: .now() + .seconds(10), to: write) == .written)
    }

    @Test func `knows when nobody reads any more`() throws {
        let (read, write) = try pipe()
        defer { close(write) }
        close(read)
        var pipe = sigset_t()
        sigemptyset(&pipe)
        sigaddset(&pipe, SIGPIPE)
        pthread_sigmask(SIG_BLOCK, &pipe, nil)
        #expect(StandardError.write("x", to: write) == .readerIsGone)
        #expect(StandardError.write("x", until: .now() + .seconds(10), to: write) == .readerIsGone)
        #expect(StandardError.write("x", to: -1) == .notWritten)
    }
}
