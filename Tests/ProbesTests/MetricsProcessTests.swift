import FoundationEssentials
import Glibc
import Testing

@testable import Probes

@Suite struct `Metrics of this process` {
    static let stat =
        "42 (a) b (c)) S 1 42 42 0 -1 4194304 900 0 0 0 250 50 0 0 20 0 7 0 123456 104857600 2560 18446744073709551615 1 1 0 0 0"

    @Test func `stat is read past a name with blanks and parentheses`() throws {
        let stat = try #require(ProcessStat(procText: Self.stat))
        #expect((stat.userTicks, stat.systemTicks, stat.threads) == (250, 50, 7))
        #expect((stat.startTicks, stat.virtualBytes) == (123_456, 104_857_600))
    }

    @Test(arguments: ["", "42", "42 (a", "42 (a)", "42 (a) S 1 2 3", String(stat.replacing("250", with: "many"))])
    func `malformed stat is nil, not zero`(text: String) {
        #expect(ProcessStat(procText: text) == nil)
    }

    @Test func `status gives sizes in bytes and leaves out what is missing`() {
        let status = ProcessStatus(procText: "Name:\thealthd\nVmHWM:\t   2048 kB\nVmRSS:\t    1024 kB\nThreads:\t7\n")
        #expect(status.residentBytes == 1_048_576)
        #expect(status.peakResidentBytes == 2_097_152)
        let partial = ProcessStatus(procText: "VmRSS:\tx kB\nVmHWM: 3\nVmHWM:")
        #expect(partial.residentBytes == nil && partial.peakResidentBytes == nil)
        let huge = ProcessStatus(procText: "VmRSS:\t9223372036854775807 kB\nVmHWM:\t-1 kB\n")
        #expect(huge.residentBytes == nil && huge.peakResidentBytes == nil)
    }

    @Test(
        arguments: [("cpu 1 2\nbtime 1800000000\nprocesses 3\n", 1_800_000_000), ("btime\n", nil), ("", nil), ("btime x", nil)]
            as [(String, Int?)])
    func `boot time`(text: String, expected: Int?) {
        #expect(unixTimeOfBoot(procText: text) == expected)
    }

    @Test func `the real files give plausible numbers`() throws {
        let reading = ProcessReading.current()
        #expect(try #require(reading.cpuSeconds) >= 0)
        #expect(try #require(reading.threads) >= 1)
        #expect(try #require(reading.residentBytes) > 1_000_000)
        #expect(try #require(reading.peakResidentBytes) >= #require(reading.residentBytes))
        #expect(try #require(reading.openFDs) >= 3)
        #expect(try #require(reading.maxFDs) >= #require(reading.openFDs))
        #expect(try #require(reading.startTimeSeconds) > 1_500_000_000)
    }

    @Test func `the time of the kernel counts, and a process begins after its machine`() throws {
        let scratch = try Scratch()
        let folder = "\(scratch.path)/proc"
        try FileManager.default.createDirectory(atPath: "\(folder)/self", withIntermediateDirectories: true)
        try Data(Self.stat.utf8).write(to: URL(filePath: "\(folder)/self/stat"))
        try Data("cpu 1 2\nbtime 1800000000\n".utf8).write(to: URL(filePath: "\(folder)/stat"))
        let reading = ProcessReading.current(procFolder: folder)
        let ticks = Double(sysconf(Int32(_SC_CLK_TCK)))
        #expect(reading.cpuSeconds == 300 / ticks)
        #expect(reading.startTimeSeconds == 1_800_000_000 + 123_456 / ticks)
        #expect(reading.threads == 7 && reading.virtualBytes == 104_857_600 && reading.residentBytes == nil)
        withExtendedLifetime(scratch) {}
    }

    @Test func `without a proc file system everything is unknown`() {
        var expected = ProcessReading()
        expected.maxFDs = ProcessReading.current().maxFDs
        #expect(ProcessReading.current(procFolder: "/nonexistent") == expected)
    }
}
