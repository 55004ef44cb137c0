import Synchronization

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

    /// Reads `/proc/self` once, through descriptors opened for it.
    public static func current(procFolder: String = "/proc") -> ProcessReading {
        ProcessFiles(procFolder: procFolder).reading()
    }
}

/// The files of `/proc/self`, opened once and kept: so this process knows how it stands though it has no descriptor left.
public final class ProcessFiles: Sendable {
    private let statFile: Int32
    private let statusFile: Int32
    private let descriptors: Mutex<DescriptorFolder>
    /// Unix time.
    private let bootTime: Double?
    private let ticksPerSecond = Double(sysconf(Int32(_SC_CLK_TCK)))

    public init(procFolder: String = "/proc") {
        statFile = open("\(procFolder)/self/stat", O_RDONLY | O_CLOEXEC)
        statusFile = open("\(procFolder)/self/status", O_RDONLY | O_CLOEXEC)
        descriptors = Mutex(DescriptorFolder(path: "\(procFolder)/self/fd"))
        let machine = open("\(procFolder)/stat", O_RDONLY | O_CLOEXEC)
        bootTime = readText(machine).flatMap(unixTimeOfBoot(procText:)).map(Double.init)
        close(machine)
    }

    deinit {
        close(statFile)
        close(statusFile)
    }

    /// About 40 µs, no blocking device behind it, no descriptor needed.
    public func reading() -> ProcessReading {
        var reading = ProcessReading()
        if let stat = readText(statFile).flatMap(ProcessStat.init(procText:)), ticksPerSecond > 0 {
            reading.cpuSeconds = (Double(stat.userTicks) + Double(stat.systemTicks)) / ticksPerSecond
            reading.threads = stat.threads
            reading.virtualBytes = stat.virtualBytes
            reading.startTimeSeconds = bootTime.map { $0 + Double(stat.startTicks) / ticksPerSecond }
        }
        if let status = readText(statusFile).map(ProcessStatus.init(procText:)) {
            reading.residentBytes = status.residentBytes
            reading.peakResidentBytes = status.peakResidentBytes
        }
        var limit = rlimit()
        if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0, limit.rlim_cur <= rlim_t(Int.max) {
            reading.maxFDs = Int(limit.rlim_cur)
        }
        switch descriptors.withLock({ $0.count() }) {
        case .some(let count): reading.openFDs = count
        case .atLimit: reading.openFDs = reading.maxFDs
        case .unknown: break
        }
        return reading
    }
}

/// The folder that lists a process's descriptors, kept open.
private struct DescriptorFolder: ~Copyable {
    enum Count {
        /// Its own among them.
        case some(Int)
        /// The folder could not be opened because the process has as many as it may have.
        case atLimit
        case unknown
    }

    private let path: String
    private var stream: OpaquePointer?
    private var problem: CInt = 0

    init(path: String) {
        self.path = path
        open()
    }

    deinit {
        if let stream { closedir(stream) }
    }

    private mutating func open() {
        stream = opendir(path)
        problem = stream == nil ? errno : 0
    }

    mutating func count() -> Count {
        if stream == nil { open() }
        guard let stream else { return problem == EMFILE ? .atLimit : .unknown }
        rewinddir(stream)
        var count = 0
        while let entry = readdir(stream) {
            // The first byte is enough: descriptors are digits, the two other entries begin with a dot.
            if entry.pointee.d_name.0 != CChar(bitPattern: UInt8(ascii: ".")) { count += 1 }
        }
        return count > 0 ? .some(count) : .unknown
    }
}

/// The fields used of `/proc/PID/status`. Source: proc_pid_status(5); sizes are given in kB of 1,024 bytes.
struct ProcessStatus: Equatable {
    var residentBytes: Int?
    var peakResidentBytes: Int?

    init(procText text: String) {
        for line in text.split(separator: "\n") {
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
            guard words.count == 3, words[2] == "kB", let kilobytes = Int(words[1]), (0...Int.max / 1_024).contains(kilobytes) else { continue }
            switch words[0] {
            case "VmRSS:": residentBytes = kilobytes * 1_024
            case "VmHWM:": peakResidentBytes = kilobytes * 1_024
            default: break
            }
        }
    }
}

/// Unix time at which the machine started: the `btime` line of `/proc/stat`.
func unixTimeOfBoot(procText text: String) -> Int? {
    for line in text.split(separator: "\n") where line.hasPrefix("btime ") { return Int(line.dropFirst("btime ".count)) }
    return nil
}

/// At most 1 MiB of a file of the proc file system, from its beginning; nil when it is not open, cannot be read or is not UTF-8.
private func readText(_ descriptor: Int32) -> String? {
    guard descriptor >= 0 else { return nil }
    var text: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 8_192)
    while text.count < 1_048_576 {
        let count = pread(descriptor, &chunk, chunk.count, off_t(text.count))
        if count < 0 && errno == EINTR { continue }
        guard count >= 0 else { return nil }
        guard count > 0 else { break }
        text.append(contentsOf: chunk[..<count])
    }
    return String(validating: text, as: UTF8.self)
}
