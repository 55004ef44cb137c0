import ArgumentParser
import NIOCore
import Probes
import Vitals

#if canImport(Glibc)
    import Glibc
#endif

/// The program: one verb a file, below `Commands`. What a verb throws becomes an exit status in `ProgramEnd` and nowhere else.
@main
struct Healthd: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "healthd",
        abstract: "Runs the application's core and watches its connection pool, cache and queries from the inside.",
        discussion: """
            Settings come from /etc/healthd/healthd.yaml or --config FILE, over it HEALTHD_*, DATABASE_URL or PG*, and REDIS_URL.
            Exit status: 0 well, 1 a check failed, 64 wrong usage, 70 an error of the program itself, 78 wrong configuration.
            """,
        version: ProgramVersion.line,
        subcommands: [
            RunCommand.self, CheckConfigCommand.self, MigrateCommand.self, SeedCommand.self, StatusCommand.self, HoldersCommand.self,
            AlertsCommand.self, ReloadCommand.self, VersionCommand.self,
        ])

    static func main() async {
        // From here on a reader that stops is an error of that write: `healthd --help | head -1`.
        Surroundings.putRight()
        NIOSingletons.groupLoopCountSuggestion = min(System.coreCount, HTTPLoops.most)
        ProgramLog.begin()
        let end = await run(Array(CommandLine.arguments.dropFirst()))
        if end.stream == .output, !end.message.isEmpty { print(end.message) }
        if end.stream == .error, !end.message.isEmpty { writeToStandardError(end.message + "\n") }
        guard end.status == 0, let lost = StandardOutput.problem else { Glibc.exit(end.status) }
        writeToStandardError("healthd: \(lost)\n")
        Glibc.exit(1)
    }

    /// Everything but the end of the process.
    static func run(_ arguments: [String]) async -> ProgramEnd {
        do {
            if let stray = StrayVerb(in: arguments) { throw stray }
            var command = try await asyncParseAsRoot(arguments)
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
            return .well
        } catch {
            return ProgramEnd(error, in: arguments)
        }
    }

    func run() async throws { throw NoVerb() }
}
