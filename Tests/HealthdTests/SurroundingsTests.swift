import FoundationEssentials
import Glibc
import Testing

@testable import healthd

@Suite struct `What whoever started us left us with` {
    /// What would end the process by default, and is an error of one write: a peer that is gone, a file that may not grow any more.
    @Test(arguments: [SIGPIPE, SIGXFSZ]) func `ends us by no signal that only means a write that failed`(number: Int32) throws {
        Surroundings.putRight()
        let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
        let mask = try #require(status.firstMatch(of: /SigIgn:\s*([0-9a-f]+)/)).output.1
        #expect(try #require(UInt64(mask, radix: 16)) & (1 << UInt64(number - 1)) != 0)
    }
}
