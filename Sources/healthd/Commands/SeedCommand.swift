public import AppCore
public import ArgumentParser
import Glibc
import Synchronization

struct SeedCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "seed", abstract: "Fill an empty, migrated database with realistic data, the same every time.",
        discussion: "Data that is there already is left alone.")

    @OptionGroup var options: ConfigurationOptions

    @Option(help: "How much: \(Seed.Scale.allCases.map(\.rawValue).joined(separator: ", ")).")
    var scale = Seed.Scale.small

    func run() async throws {
        let settings = try options.source().load()
        let display = Mutex(ProgressText(isTerminal: isatty(STDOUT_FILENO) == 1))
        let scale = scale
        let outcome = try await withOfflineDatabase(settings) { database in
            try await Seed(database: database, scale: scale) { progress in
                let text = display.withLock { $0.update(progress.table, done: progress.done, of: progress.total) }
                if let text { print(text, terminator: "") }
            }.run()
        }
        print(display.withLock { $0.end } + "\(outcome)")
    }
}

extension Seed.Scale: ExpressibleByArgument {}
