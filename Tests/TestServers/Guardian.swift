import FoundationEssentials
import Glibc
import Synchronization

/// A shell that owns one test server and a temporary folder, and takes both down when this process ends in any way.
///
/// It obeys lines on its standard input and answers each with one line. The pipe is the lifeline: when our end closes, even by
/// `kill -9`, the shell stops the server and removes the folder. So a server shared by all tests of a process needs no teardown.
final class Guardian: Sendable {
    let folder: String
    private let pipes: Mutex<(commands: Int32, answers: Int32)>

    /// - Parameter script: sets `$last_signal` (not QUIT for who does not handle it: a shell starts background work with it ignored) and
    ///   defines the functions `prepare`, `launch` (starts the server in the background and sets `$pid`) and `ready`.
    init(name: String, script: String, arguments: [String]) throws {
        var template = Array("/tmp/healthd-test-\(name)-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw TestServerError("cannot make a temporary folder, errno \(errno)") }
        folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)

        var commands: [Int32] = [0, 0]
        var answers: [Int32] = [0, 0]
        // Close-on-exec: a second guardian that inherited our end would keep the first alive.
        guard makePipe(&commands), makePipe(&answers) else { throw TestServerError("no pipe, errno \(errno)") }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, commands[0], 0)
        posix_spawn_file_actions_adddup2(&actions, answers[1], 1)
        posix_spawn_file_actions_addopen(&actions, 2, folder + "/guardian.log", O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // A session of its own: Ctrl-C goes to the tests, and the guardian then sees the pipe close.
        posix_spawnattr_setflags(&attributes, 0x80)  // POSIX_SPAWN_SETSID of <spawn.h>, which is not imported

        let words = ["sh", "-c", Self.prelude + script + Self.loop, "guardian", folder] + arguments
        var argv: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { argv.forEach { free($0) } }
        var pid: pid_t = 0
        let failure = posix_spawn(&pid, "/bin/sh", &actions, &attributes, &argv, environ)
        close(commands[0])
        close(answers[1])
        guard failure == 0 else { throw TestServerError("cannot start /bin/sh, error \(failure)") }
        pipes = Mutex((commands[1], answers[0]))
        // An exit test asks the kernel for any child that has ended; one that nobody collects would be the answer for ever.
        startThread { [pid] in
            while waitpid(pid, nil, 0) < 0 && errno == EINTR {}
        }
    }

    deinit {
        pipes.withLock {
            close($0.commands)
            close($0.answers)
        }
    }

    private static let prelude = """
        folder=$1; shift
        pid=
        as_server=
        if [ "$(id -u)" = 0 ]; then as_server="setpriv --reuid=$1 --regid=$1 --clear-groups --"; fi
        shift

        """

    private static let loop = """

        end() { [ -n "$pid" ] || return 0; kill -CONT "$pid"; kill "-$1" "$pid"; wait "$pid"; pid=; }
        prepare >&2 || { echo "failed: prepare"; }
        while read -r command; do
            case $command in
            start)
                launch
                tries=0
                while ! ready >/dev/null 2>&1; do
                    tries=$((tries + 1))
                    if [ "$tries" -gt 600 ] || ! kill -0 "$pid"; then break; fi
                    sleep 0.05
                done
                if ready >/dev/null 2>&1; then echo "running $pid"; else echo "failed: start"; fi ;;
            stop) end INT; echo stopped ;;
            kill) end KILL; echo stopped ;;
            esac
        done
        end "$last_signal"
        rm -rf "$folder"
        """

    /// Sends one command and waits for its answer, off the cooperative pool.
    func ask(_ command: String) async throws -> String {
        let answer = await onOwnThread { self.exchange(command) }
        guard !answer.isEmpty, !answer.hasPrefix("failed") else {
            let log = (try? String(contentsOfFile: folder + "/guardian.log", encoding: .utf8)) ?? ""
            throw TestServerError("\(command) in \(folder): \(answer.isEmpty ? "the guardian ended" : answer)\n\(log.suffix(2_000))")
        }
        return answer
    }

    private func exchange(_ command: String) -> String {
        pipes.withLock { pipes in
            let line = Array((command + "\n").utf8)
            guard write(pipes.commands, line, line.count) == line.count else { return "" }
            var answer: [UInt8] = []
            var byte: UInt8 = 0
            while read(pipes.answers, &byte, 1) == 1, byte != UInt8(ascii: "\n") { answer.append(byte) }
            return String(decoding: answer, as: UTF8.self)
        }
    }
}

public struct TestServerError: Error, CustomStringConvertible {
    public let description: String

    public init(_ description: String) {
        self.description = description
    }
}
