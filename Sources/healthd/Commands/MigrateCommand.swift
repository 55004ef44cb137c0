import AppCore
import ArgumentParser
import FoundationEssentials
import Logging
import Vitals

struct MigrateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "migrate", abstract: "Bring the database's tables to what this version needs, or say how they stand.",
        subcommands: [Up.self, Status.self], defaultSubcommand: Up.self)

    struct Up: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Apply what is missing. Several at once do no harm: one works, the others wait.")

        @OptionGroup var options: ConfigurationOptions

        func run() async throws {
            let settings = try options.source().load()
            let applied = try await withOfflineDatabase(settings) { database in
                try await Migrator(database: database, logger: quietLogger()).up { print("applying \($0)") }
            }
            print(applied.isEmpty ? "nothing to do: the tables are as this version needs them" : "applied \(applied.joined(separator: ", "))")
        }
    }

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say what is applied and what is missing.", discussion: "Exit status 1 when something is missing or not as it should be.")

        @OptionGroup var options: ConfigurationOptions
        @OptionGroup var output: JSONOption

        func run() async throws {
            let settings = try options.source().load()
            let status = try await withOfflineDatabase(settings) { database in
                try await Migrator(database: database, logger: quietLogger()).status()
            }
            let report = MigrationReport(status)
            print(output.json ? try report.json() : report.text)
            if !report.isComplete { throw CheckFailed() }
        }
    }
}

/// How a database stands to the migrations, for people and for programs.
struct MigrationReport: Encodable {
    struct Applied: Encodable {
        var name: String
        var at: String
    }

    var applied: [Applied]
    var missing: [String]
    var problem: String?

    init(_ status: MigrationStatus) {
        applied = status.applied.map { Applied(name: $0.name, at: $0.appliedAt.rfc3339) }
        missing = status.pending.map(\.name)
        problem = status.problem.map { "\($0)" }
    }

    var isComplete: Bool { missing.isEmpty && problem == nil }

    var text: String {
        var lines = applied.map { "applied  \($0.name)  \($0.at)" } + missing.map { "missing  \($0)" }
        if let problem { lines.append("problem  \(problem)") }
        if !missing.isEmpty, problem == nil { lines.append("run \"healthd migrate up\"") }
        return lines.joined(separator: "\n")
    }

    func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
        return String(decoding: try encoder.encode(self), as: UTF8.self)
    }
}

/// For verbs that say themselves what a person should read.
func quietLogger() -> Logger {
    var logger = Logger(label: "healthd")
    logger.logLevel = .warning
    return logger
}
