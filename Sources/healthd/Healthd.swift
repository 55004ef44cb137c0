import ArgumentParser
import Probes
import Vitals

#if canImport(Glibc)
    import Glibc
#endif

/// The program: one verb a file, below `Commands`. What a verb throws becomes an exit status here and nowhere else.
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
        Surroundings.settle()
        ProgramLog.begin()
        var command: any ParsableCommand
        do {
            command = try await asyncParseAsRoot()
        } catch {
            exit(withError: error)
        }
        do {
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch {
            let end = ProgramEnd(error)
            guard let status = end.status else { exit(withError: error) }
            fflush(nil)
            if !end.message.isEmpty { writeToStandardError(end.message + "\n") }
            Glibc.exit(status)
        }
    }
}
