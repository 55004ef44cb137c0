import Subprocess
import SystemPackage
import Vitals

/// One short program, run to its end as the servers' user, with an environment of its own: nothing of ours is inherited.
struct ServerCommand: Sendable {
    var program: String
    var arguments: [String]
    var user: ServerUser
    var folder: String
    var input = ""

    private struct Outcome {
        /// How it ended, unless well.
        var failed: String?
        var words: String
    }

    /// The program and its arguments, as the servers' user.
    ///
    /// setpriv(1) changes the user, not the forked child itself: glibc's setgroups() waits there for threads that the fork did not copy,
    /// for good if one was just being made.
    var words: [String] {
        let own = [program] + arguments
        return user.isSwitched ? ["/usr/bin/setpriv", "--reuid=\(user.uid)", "--regid=\(user.gid)", "--clear-groups", "--"] + own : own
    }

    /// - Throws: `EmbeddedServerError` with the program's own last words when it fails or takes longer than `limit`; `CancellationError`.
    func run(within limit: Duration, time: any TimeSource) async throws {
        try Task.checkCancellation()
        var options = PlatformOptions()
        let name = program.split(separator: "/").last.map(String.init) ?? program
        // Its own session: Ctrl-C at our terminal is ours to answer, not the servers'. What is given up ends with all that it started in it.
        options.createSession = true
        options.teardownSequence = [.send(signal: .kill, toProcessGroup: true, allowedDurationToNextStep: .seconds(5))]
        let outcome = try await withThrowingTaskGroup(of: Outcome?.self) { [options] group in
            group.addTask {
                let result = try await Subprocess.run(
                    .path(FilePath(words[0])), arguments: Arguments(Array(words.dropFirst())),
                    environment: .custom([
                        "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TZ": "UTC",
                    ]),
                    workingDirectory: FilePath(folder), platformOptions: options, input: .string(input),
                    output: .string(limit: 65_536),
                    error: .string(limit: 65_536))
                let said = "\(result.standardError)\n\(result.standardOutput)"
                return Outcome(failed: result.terminationStatus.isSuccess ? nil : "\(result.terminationStatus)", words: said)
            }
            group.addTask {
                try await time.sleep(for: limit)
                return nil
            }
            let first = try await group.next() ?? nil
            group.cancelAll()
            return first
        }
        guard let outcome else { throw EmbeddedServerError("\(name) did not finish within \(limit.text)") }
        if let failed = outcome.failed {
            throw EmbeddedServerError("\(name) failed (\(failed)): \(lastLines(of: outcome.words))")
        }
    }
}

/// The last lines that say anything, on one line: what a server's log tells about its end.
func lastLines(of text: String, count: Int = 4) -> String {
    text.split(separator: "\n").filter { !$0.allSatisfy(\.isWhitespace) }.suffix(count).joined(separator: " | ").oneLine(limit: 600)
}
