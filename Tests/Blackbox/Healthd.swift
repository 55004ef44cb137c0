import FoundationEssentials
public import Glibc
import TestServers
import Vitals

/// The built `healthd`, run with a configuration of its own, seen from outside.
public final class Healthd: Sendable {
    /// The program that scripts/run starts: scripts/test builds it, and names it in HEALTHD_BINARY.
    ///
    /// - Throws: without it. What is built beside the tests is not what people run, and is not looked at.
    public static var binary: String {
        get throws {
            guard let path = ProcessInfo.processInfo.environment["HEALTHD_BINARY"], FileManager.default.isExecutableFile(atPath: path) else {
                throw TestServerError("HEALTHD_BINARY names no program; start these tests by scripts/test, with --filter if need be")
            }
            _ = isNoted
            return path
        }
    }

    // For scripts/test, which compares it with the program that scripts/run starts.
    private static let isNoted: Void = {
        let variables = ProcessInfo.processInfo.environment
        guard let note = variables["HEALTHD_TESTED"], let path = variables["HEALTHD_BINARY"],
            let bytes = FileManager.default.contents(atPath: path)
        else { return }
        let digits = SHA256.hash(bytes).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        try? digits.write(toFile: note, atomically: true, encoding: .utf8)
    }()

    /// The root of the checkout.
    public static var root: String {
        #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3).joined(separator: "/")
    }

    /// What the shell of whoever runs the tests has set must not reach the program under test; nor what scripts/test tells the tests.
    static let foreign: Set<String> = {
        let names = ProcessInfo.processInfo.environment.keys
        return Set(names.filter { $0.hasPrefix("HEALTHD_") || $0.hasPrefix("PG") || $0 == "DATABASE_URL" || $0 == "REDIS_URL" || $0 == "NOTIFY_SOCKET" })
    }()

    public let port: Int
    public let folder: TemporaryFolder
    public let web: Web
    public var state: String { "\(folder.path)/state" }
    public var configuration: String { "\(folder.path)/healthd.yaml" }

    private let program: Program

    public var pid: pid_t { program.pid }
    public var output: String { program.output }

    /// Starts it and waits until it answers.
    ///
    /// - Parameters:
    ///   - settings: YAML for everything but `listen` and `state`.
    ///   - arguments: after `run --config FILE`.
    ///   - folder: that of an earlier one, to go on with its state.
    ///   - reader: of what it prints.
    ///   - prefix: the words of a command that runs it, as the same process: `prlimit --nofile=100`.
    ///   - word: what it prints by when the test wants it, instead of when it answers.
    public static func start(
        _ settings: String, arguments: [String] = [], environment: [String: String] = [:], folder: TemporaryFolder? = nil, port: Int? = nil,
        reader: Program.LogReader = .file, prefix: [String] = [], untilItSays word: String? = nil
    ) async throws -> Healthd {
        let healthd = try Healthd(
            settings, arguments: arguments, environment: environment, folder: folder, port: port, reader: reader, prefix: prefix)
        do {
            try await eventually("healthd answers", within: .seconds(60), every: word == nil ? .milliseconds(10) : .milliseconds(1)) {
                guard healthd.program.exitStatus == nil else { return true }
                if let word { return healthd.output.contains(word) }
                return try await healthd.web.get("/livez", within: .seconds(2)).status == 200
            }
        } catch {
            throw TestServerError("\(error); it printed:\n\(healthd.output.suffix(4_000))")
        }
        if let status = healthd.program.exitStatus {
            throw TestServerError("healthd ended with \(status); it printed:\n\(healthd.output.suffix(4_000))")
        }
        return healthd
    }

    /// Starts it and waits for its end: for configurations that must not start.
    public static func refusal(
        _ text: String, arguments: [String] = [], environment: [String: String] = [:], reader: Program.LogReader = .file
    ) async throws -> (status: Int32, output: String) {
        let folder = try TemporaryFolder("refusal")
        let file = try folder.write(text, to: "healthd.yaml")
        let program = try Program(
            [binary, "run", "--config", file] + arguments, log: "\(folder.path)/log", reader: reader,
            environment: environment.merging(["HEALTHD_STATE": "\(folder.path)/state"]) { own, _ in own })
        let status = try await program.ended()
        return (status, program.output)
    }

    /// Runs a verb to its end.
    public func verb(_ words: String..., within limit: Duration = .seconds(30)) async throws -> (status: Int32, output: String) {
        let log = "\(folder.path)/verb.\(MonotonicInstant.now().nanoseconds)"
        let program = try Program([Self.binary] + words + ["--config", configuration], log: log)
        let status = try await program.ended(within: limit)
        return (status, program.output)
    }

    private init(
        _ settings: String, arguments: [String], environment: [String: String], folder: TemporaryFolder?, port: Int?, reader: Program.LogReader,
        prefix: [String]
    ) throws {
        self.port = try port ?? unusedPort()
        self.folder = try folder ?? TemporaryFolder("healthd")
        web = Web(port: self.port)
        let text = "listen: 127.0.0.1:\(self.port)\nstate: \(self.folder.path)/state\n\(settings)\n"
        let file = try self.folder.write(text, to: "healthd.yaml")
        mkdir("\(self.folder.path)/state", 0o755)
        program = try Program(
            prefix + [Self.binary, "run", "--config", file] + arguments, log: "\(self.folder.path)/log", reader: reader,
            environment: environment)
    }

    public func signal(_ number: Int32) {
        program.signal(number)
    }

    /// Ends it and answers the status it ended with.
    @discardableResult
    public func end(with number: Int32 = SIGTERM, within limit: Duration = .seconds(30)) async throws -> Int32 {
        try await program.end(with: number, within: limit)
    }
}
