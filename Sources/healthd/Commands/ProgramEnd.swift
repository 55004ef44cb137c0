import AppCore
import ArgumentParser
import Probes
import Vitals

/// Something was looked at and found wanting, or could not be done for a reason outside the program: exit status 1.
struct CheckFailed: Error, CustomStringConvertible {
    var description: String

    /// An empty text when everything has been printed already.
    init(_ description: String = "") { self.description = description }
}

/// How a command line ends the process: its status, and what is said at the end.
struct ProgramEnd: Sendable, Hashable {
    enum Stream: Sendable, Hashable { case output, error }

    var status: Int32
    /// Empty when everything has been printed already.
    var message = ""
    var stream = Stream.error

    static let well = ProgramEnd(status: 0)
    /// EX_USAGE, EX_SOFTWARE and EX_CONFIG of sysexits.h; the unit does not restart after the last.
    private static let usage: Int32 = 64, software: Int32 = 70, configuration: Int32 = 78
}

extension ProgramEnd {
    /// - Parameter arguments: of the command line, which the parser quotes.
    init(_ error: any Error, in arguments: [String] = []) {
        switch error {
        case let problems as ConfigurationProblems:
            let count = problems.all.count
            self.init(
                status: Self.configuration,
                message: "healthd: the configuration has \(count == 1 ? "a problem" : "\(count) problems"):\n\(problems)")
        case let unknown as AddressUnknown:
            self.init(
                status: Self.configuration,
                message: "healthd: the configuration does not say where the daemon listens:\n\(unknown.problems)\n--address HOST:PORT asks without it.")
        case let refused as ReloadRefused:
            self.init(
                status: Self.configuration,
                message: "healthd keeps its last good configuration; the new one has problems:\n\(refused.problems)")
        case let failed as CheckFailed: self.init(status: 1, message: failed.description)
        case let silent as DaemonClient.NoAnswer: self.init(status: 1, message: silent.description)
        // What an operator can mend is no error of the program.
        case is EmbeddedServerError, is StateFolderError, is PoolError, is PostgresError, is SchemaError, is EventLoopError, is ListenError,
            is TooFewDescriptors:
            self.init(status: 1, message: "healthd: \(error)")
        case let stray as StrayVerb: self.init(status: Self.usage, message: stray.text)
        case let missing as NoVerb: self.init(status: Self.usage, message: missing.text)
        default: self.init(parsing: error, in: arguments)
        }
    }

    /// What the argument parser throws is known by the status it would end with: its types are its own.
    private init(parsing error: any Error, in arguments: [String]) {
        switch Healthd.exitCode(for: error) {
        case .success: self.init(status: 0, message: Healthd.fullMessage(for: error, columns: UsageText.columns), stream: .output)
        case .validationFailure: self.init(status: Self.usage, message: UsageText.complaint(about: error, in: arguments))
        case let code where error is ExitCode: self.init(status: code.rawValue)
        default: self.init(status: Self.software, message: "healthd: an error of the program itself, please report it: \("\(error)".oneLine(limit: 2_000))")
        }
    }
}
