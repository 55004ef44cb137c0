#if canImport(Glibc)
    import Glibc
#endif

/// What the kernel says about this process. What could not be read is nil, never zero.
public struct ProcessReading: Sendable, Hashable {
    /// User and system time.
    public var cpuSeconds: Double?
    public var threads: Int?
    public var residentBytes: Int?
    public var peakResidentBytes: Int?
    public var virtualBytes: Int?
    public var openFDs: Int?
    public var maxFDs: Int?
    /// Unix time.
    public var startTimeSeconds: Double?

    public init() {}

    /// Reads `/proc/self`; about 40 µs, no blocking device behind it.
    public static func current(procFolder: String = "/proc") -> ProcessReading {
        var reading = ProcessReading()
        let ticksPerSecond = Double(sysconf(Int32(_SC_CLK_TCK)))
        if let stat = readProcText("\(procFolder)/self/stat").flatMap(ProcessStat.init(procText:)), ticksPerSecond > 0 {
            reading.cpuSeconds = Double(stat.userTicks + stat.systemTicks) / ticksPerSecond
            reading.threads = stat.threads
            reading.virtualBytes = stat.virtualBytes
            if let boot = readProcText("\(procFolder)/stat").flatMap(bootTime(procText:)) {
                reading.startTimeSeconds = Double(boot) + Double(stat.startTicks) / ticksPerSecond
            }
        }
        if let status = readProcText("\(procFolder)/self/status").map(ProcessStatus.init(procText:)) {
            reading.residentBytes = status.residentBytes
            reading.peakResidentBytes = status.peakResidentBytes
        }
        reading.openFDs = countEntries(of: "\(procFolder)/self/fd")
        var limit = rlimit()
        if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0, limit.rlim_cur <= rlim_t(Int.max) {
            reading.maxFDs = Int(limit.rlim_cur)
        }
        return reading
    }
}

/// The fields used of `/proc/PID/stat`. Source: proc_pid_stat(5).
struct ProcessStat: Equatable {
    var userTicks: Int
    var systemTicks: Int
    var threads: Int
    /// Since boot.
    var startTicks: Int
    var virtualBytes: Int

    /// nil when fields are missing or are no numbers.
    init?(procText text: String) {
        // The second field is the program's name in parentheses; it may itself hold blanks and parentheses.
        guard let close = text.lastIndex(of: ")") else { return nil }
        // The first field after the name is number 3 of the manual page.
        let fields = text[text.index(after: close)...].split(whereSeparator: \.isWhitespace)
        func field(_ number: Int) -> Int? { fields.count > number - 3 ? Int(fields[number - 3]) : nil }
        guard let user = field(14), let system = field(15), let threads = field(20), let start = field(22), let size = field(23)
        else { return nil }
        (userTicks, systemTicks, self.threads, startTicks, virtualBytes) = (user, system, threads, start, size)
    }
}

/// The fields used of `/proc/PID/status`. Source: proc_pid_status(5); sizes are given in kB of 1,024 bytes.
struct ProcessStatus: Equatable {
    var residentBytes: Int?
    var peakResidentBytes: Int?

    init(procText text: String) {
        for line in text.split(separator: "\n") {
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
            guard words.count == 3, words[2] == "kB", let kilobytes = Int(words[1]), kilobytes >= 0 else { continue }
            switch words[0] {
            case "VmRSS:": residentBytes = kilobytes * 1_024
            case "VmHWM:": peakResidentBytes = kilobytes * 1_024
            default: break
            }
        }
    }
}

/// Unix time at which the machine started: the `btime` line of `/proc/stat`.
func bootTime(procText text: String) -> Int? {
    for line in text.split(separator: "\n") where line.hasPrefix("btime ") { return Int(line.dropFirst("btime ".count)) }
    return nil
}

/// At most 1 MiB of a file of the proc file system; nil when it cannot be opened or is not UTF-8.
private func readProcText(_ path: String) -> String? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var text: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 8_192)
    while text.count < 1_048_576 {
        let count = read(descriptor, &chunk, chunk.count)
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else { break }
        text.append(contentsOf: chunk[..<count])
    }
    return String(validating: text, as: UTF8.self)
}

/// Open descriptors, without the one used for counting.
private func countEntries(of folder: String) -> Int? {
    guard let stream = opendir(folder) else { return nil }
    defer { closedir(stream) }
    var count = 0
    while let entry = readdir(stream) {
        // The first byte is enough: descriptors are digits, the two other entries begin with a dot.
        if entry.pointee.d_name.0 != CChar(bitPattern: UInt8(ascii: ".")) { count += 1 }
    }
    return count - 1
}
