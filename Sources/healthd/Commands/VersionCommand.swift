import ArgumentParser

enum ProgramVersion {
    /// Semantic versioning over what clients depend on: routes, metrics, settings, exit codes.
    static let number = "0.1.0"

    #if compiler(>=6.3)
        static let swift = "6.3"
    #else
        static let swift = "6"
    #endif

    static var line: String { "healthd \(number) (Swift \(swift))" }
}

struct VersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "version", abstract: "Print the version.")

    @OptionGroup var options: ConfigurationOptions
    @OptionGroup var output: JSONOption

    private struct Version: Encodable {
        var version: String
        var swift: String
    }

    func run() throws {
        if output.json {
            printJSON(Version(version: ProgramVersion.number, swift: ProgramVersion.swift))
        } else {
            print(ProgramVersion.line)
        }
    }
}
