import FoundationEssentials
import TestServers

extension Healthd {
    /// What came of a command line: how it ended, and what it said where.
    public struct Call: Sendable {
        public var status: Int32
        public var output: String
        public var errors: String
    }

    /// Where its standard output goes.
    public enum Sink: Sendable {
        case test
        case path(String)
        /// A command of the shell's that reads it.
        case pipe(into: String)
    }

    /// Runs the program to its end, without settings of ours in its environment.
    public static func call(_ words: [String], to sink: Sink = .test, environment: [String: String] = [:]) async throws -> Call {
        let folder = try TemporaryFolder("call")
        // This process ignores SIGPIPE, and a shell would pass that on.
        let program = "env --default-signal=PIPE \"$0\" \"$@\" 2>'\(folder.path)/err'"
        let script =
            switch sink {
            case .test: "\(program) >'\(folder.path)/out'"
            case .path(let path): "\(program) >'\(path)'"
            case .pipe(let command): "set -o pipefail; \(program) | \(command) >'\(folder.path)/out'"
            }
        let run = try Program(["bash", "-c", script, binary] + words, log: "\(folder.path)/log", environment: environment)
        let status = try await run.ended(within: .seconds(30))
        func text(_ name: String) -> String { (try? String(contentsOfFile: "\(folder.path)/\(name)", encoding: .utf8)) ?? "" }
        return Call(status: status, output: text("out"), errors: text("err"))
    }
}
