import FoundationEssentials
public import Glibc
import Synchronization
import TestServers

/// A running program, with what it printed; ended when this object goes, and when this process ends in any way.
public final class Program: Sendable {
    public let pid: pid_t
    /// What the program wrote to its standard output and error, where that is a file.
    public var output: String { reader != .file ? "" : (try? String(contentsOfFile: log, encoding: .utf8)) ?? "" }

    private let log: String
    private let reader: LogReader
    private let lifeline: Int32
    private let answers: Int32
    private let ending = Mutex<(text: String, status: Int32?)>(("", nil))

    // The shell starts the program, tells its pid, and later how it ended. It reads from a pipe that only we hold: when that
    // closes, the program is asked to end, and then made to.
    private static let shell = """
        log=$1; reader=$2; shift 2
        cd /
        exec 3<&0
        case $reader in
        file) exec 5>>"$log" ;;
        *)
            mkfifo "$log"
            exec 4<>"$log" 5>"$log"
            [ "$reader" = stalled ] || exec 4<&-
            ;;
        esac
        "$@" </dev/null >&5 2>&5 3<&- 4<&- 5>&- &
        pid=$!
        exec 5>&-
        echo "$pid"
        (
            read -r _ <&3
            kill -CONT "$pid"; kill -TERM "$pid"
            tries=0
            while kill -0 "$pid" && [ "$tries" -lt 100 ]; do tries=$((tries + 1)); sleep 0.1; done
            kill -KILL "$pid"
        ) >/dev/null 2>&1 &
        watcher=$!
        wait "$pid"
        status=$?
        kill "$watcher" 2>/dev/null
        echo "ended $status"
        """

    /// Who reads what the program prints.
    public enum LogReader: String, Sendable {
        /// A file takes all of it.
        case file
        /// Nobody, though the other end of the pipe is open; `log` is a FIFO, from which a test may read later.
        case stalled
        /// Nobody: the other end of the pipe is closed.
        case gone
    }

    /// - Parameters:
    ///   - log: a file for what the program prints; appended to.
    ///   - reader: of `log`.
    ///   - environment: added to ours, or taking the place of a variable of ours. What in ours speaks to healthd is left out.
    public init(
        _ words: [String], log: String, reader: LogReader = .file, environment: [String: String] = [:]
    ) throws {
        var down: [Int32] = [0, 0]
        var up: [Int32] = [0, 0]
        guard makePipe(&down), makePipe(&up) else { throw TestServerError("no pipe: errno \(errno)") }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, down[0], 0)
        posix_spawn_file_actions_adddup2(&actions, up[1], 1)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // The threads of Swift's pool block signals, and a child would inherit that: it could not be ended politely.
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        // POSIX_SPAWN_SETSIGMASK and POSIX_SPAWN_SETSID; of <spawn.h>, the second is not imported.
        posix_spawnattr_setflags(&attributes, 0x08 | 0x80)

        let variables = ProcessInfo.processInfo.environment.filter { !Healthd.foreign.contains($0.key) }
            .merging(environment) { _, new in new }
        var argv: [UnsafeMutablePointer<CChar>?] = (["sh", "-c", Self.shell, "program", log, reader.rawValue] + words).map { strdup($0) } + [nil]
        var envp: [UnsafeMutablePointer<CChar>?] = variables.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { (argv + envp).forEach { free($0) } }
        var shell: pid_t = 0
        let failure = posix_spawn(&shell, "/bin/sh", &actions, &attributes, &argv, &envp)
        close(down[0])
        close(up[1])
        guard failure == 0 else { throw TestServerError("cannot start /bin/sh: error \(failure)") }

        var line: [UInt8] = []
        var byte: UInt8 = 0
        while read(up[0], &byte, 1) == 1, byte != UInt8(ascii: "\n") { line.append(byte) }
        guard let pid = pid_t(String(decoding: line, as: UTF8.self)) else {
            close(down[1])
            close(up[0])
            throw TestServerError("\(words.first ?? "nothing") did not start")
        }
        _ = fcntl(up[0], F_SETFL, O_NONBLOCK)
        self.pid = pid
        self.log = log
        self.reader = reader
        lifeline = down[1]
        answers = up[0]
    }

    deinit {
        close(lifeline)
        close(answers)
    }

    public func signal(_ number: Int32) {
        // After its end the number may be somebody else's.
        guard exitStatus == nil else { return }
        kill(pid, number)
    }

    /// How the program ended, as a shell says it (128 + the signal's number); nil while it runs.
    public var exitStatus: Int32? {
        ending.withLock { ending in
            var chunk = [UInt8](repeating: 0, count: 64)
            while ending.status == nil, case let count = read(answers, &chunk, chunk.count), count > 0 {
                ending.text += String(decoding: chunk[..<count], as: UTF8.self)
                if ending.text.hasSuffix("\n") { ending.status = Int32(ending.text.split(separator: " ").last?.dropLast() ?? "") }
            }
            return ending.status
        }
    }

    /// Waits for the end of the program and answers its status.
    public func ended(within limit: Duration = .seconds(30)) async throws -> Int32 {
        try await eventuallySome("process \(pid) ends", within: limit) { self.exitStatus }
    }

    /// Ends it with a signal and waits.
    @discardableResult
    public func end(with number: Int32 = SIGTERM, within limit: Duration = .seconds(30)) async throws -> Int32 {
        signal(number)
        return try await ended(within: limit)
    }
}
