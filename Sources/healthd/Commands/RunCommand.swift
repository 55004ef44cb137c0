import ArgumentParser
import FoundationEssentials

struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "run", abstract: "Run the daemon until it is told to stop.")

    @OptionGroup var options: ConfigurationOptions

    @Flag(help: "Start a private PostgreSQL, and Redis if it is installed, in the state folder, for what is not configured.")
    var embedded = false

    @Flag(help: "Fill the database with demo data, run a gentle load, and offer POST /api/demo/hold.")
    var demo = false

    func run() async throws {
        let source = options.source(mode: embedded ? .embedded : .configured)
        let systemd = try SystemdEnvironment.ofThisProcess(source.environment)
        let configuration = try source.load()
        try await Lifecycle.run(configuration: configuration, source: source, systemd: systemd, log: ProgramLog.writer, demo: demo)
    }
}
