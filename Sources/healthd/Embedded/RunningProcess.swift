import Glibc
import Probes

/// A process as `/proc` shows it, known by its id and its start: an id alone may be somebody else's by the time it is used.
struct RunningProcess: Sendable, Hashable {
    let pid: Int32
    /// Clock ticks after boot; with the id, unique until the next boot.
    let startTicks: UInt64
    /// `R`, `S`, `D`, `T` and so on; a zombie (`Z`, `X`) is not running and never shown.
    let state: Character
    let parent: Int32
    let arguments: [String]

    /// Parses `/proc/PID/stat` and `/proc/PID/cmdline`; nil for a zombie and for text that is neither.
    init?(pid: Int32, stat: String, commandLine: String) {
        guard let stat = ProcessStat(procText: stat), !"ZXx".contains(stat.state) else { return nil }
        self.pid = pid
        state = stat.state
        parent = stat.parent
        startTicks = stat.startTicks
        arguments = commandLine.split(separator: "\0", omittingEmptySubsequences: true).map(String.init)
    }

    /// Nil when there is no such process, or it is a zombie.
    init?(pid: Int32) {
        guard pid > 1, case .text(let stat) = readFile("/proc/\(pid)/stat", limit: 4_096),
            case .text(let commandLine) = readFile("/proc/\(pid)/cmdline", limit: 65_536)
        else { return nil }
        self.init(pid: pid, stat: stat, commandLine: commandLine)
    }

    var isRunning: Bool { RunningProcess(pid: pid)?.startTicks == startTicks }

    /// Where it works; nil when we may not know.
    var workingDirectory: String? {
        var buffer = [UInt8](repeating: 0, count: 4_096)
        let count = buffer.withUnsafeMutableBytes { bytes in
            bytes.assumingMemoryBound(to: CChar.self).baseAddress.map { readlink("/proc/\(pid)/cwd", $0, bytes.count) } ?? -1
        }
        return count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : nil
    }

    /// Signals it unless its id has gone to another process meanwhile.
    func signal(_ number: Int32) {
        if isRunning { kill(pid, number) }
    }

    /// Every process that works in `folder` or below it: what a server's master left behind works where the master did.
    static func working(below folder: String) -> [RunningProcess] {
        guard let directory = opendir("/proc") else { return [] }
        defer { closedir(directory) }
        var found: [RunningProcess] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            guard let pid = Int32(name), let process = RunningProcess(pid: pid), let place = process.workingDirectory else { continue }
            if place == folder || place.hasPrefix("\(folder)/") { found.append(process) }
        }
        return found
    }
}
