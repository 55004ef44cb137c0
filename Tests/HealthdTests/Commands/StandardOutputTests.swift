import Glibc
import Testing

@testable import healthd

@Suite struct `What a verb prints` {
    @Test func `is written whole`() throws {
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        defer { ends.forEach { _ = close($0) } }
        #expect(DescriptorText.write("grün\n", to: ends[1]) == nil)
        var bytes = [UInt8](repeating: 0, count: 100)
        let count = read(ends[0], &bytes, bytes.count)
        #expect(String(decoding: bytes[..<max(0, count)], as: UTF8.self) == "grün\n")
    }

    @Test func `is known to be lost when the disk is full`() throws {
        let full = open("/dev/full", O_WRONLY)
        try #require(full >= 0)
        defer { close(full) }
        #expect(DescriptorText.write("x", to: full) == .errno(ENOSPC))
        #expect("\(OutputLost(number: ENOSPC))" == "standard output cannot be written: No space left on device")
    }
}
