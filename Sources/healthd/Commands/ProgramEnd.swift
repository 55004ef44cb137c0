import AppCore
import ArgumentParser
import Vitals

/// Something was looked at and found wanting, or could not be done for a reason outside the program: exit status 1.
struct CheckFailed: Error, CustomStringConvertible {
    var description: String

    /// An empty text when everything has been printed already.
    init(_ description: String = "") { self.description = description }
}

/// How a verb that threw ends the process.
struct ProgramEnd: Sendable, Hashable {
    /// Nil for the argument parser's own errors, which it words and ends itself (64, or 0 after `--help`).
    var status: Int32?
    /// For standard error.
    var message: String

    init(_ error: any Error) {
        switch error {
        case let problems as ConfigurationProblems:
            // EX_CONFIG of sysexits.h; the unit does not restart after it.
            status = 78
            let count = problems.all.count
            message = "healthd: the configuration has \(count == 1 ? "a problem" : "\(count) problems"):\n\(problems)"
        case let failed as CheckFailed:
            status = 1
            message = failed.description
        case let refused as ReloadRefused:
            status = 78
            message = "healthd keeps its last good configuration; the new one has problems:\n\(refused.problems)"
        case let error as EmbeddedServerError: (status, message) = (1, "healthd: \(error)")
        case let error as ListenError: (status, message) = (1, "healthd: \(error)")
        case let error as TooFewDescriptors: (status, message) = (1, "healthd: \(error)")
        case let error as PoolError: (status, message) = (1, "healthd: \(error)")
        case let error as PostgresError: (status, message) = (1, "healthd: \(error)")
        case is ExitCode, is ValidationError, is CleanExit: (status, message) = (nil, "")
        default:
            // EX_SOFTWARE of sysexits.h.
            (status, message) = (70, "healthd: \("\(error)".oneLine(limit: 2_000))")
        }
    }
}
