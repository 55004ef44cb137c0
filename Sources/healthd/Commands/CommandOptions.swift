import ArgumentParser

/// What every verb takes.
struct ConfigurationOptions: ParsableArguments {
    @Option(name: .customLong("config"), help: ArgumentHelp("The configuration file.", discussion: "Default: \(ConfigurationSource.standardPath), if it is there.", valueName: "file"))
    var config: String?

    func source(mode: Configuration.Mode = .configured) -> ConfigurationSource {
        ConfigurationSource(path: config, environment: StartEnvironment.variables, mode: mode)
    }
}

/// What the verbs take that talk to a running daemon.
struct DaemonOptions: ParsableArguments {
    @OptionGroup var configuration: ConfigurationOptions

    @Option(help: ArgumentHelp("Where the daemon listens, instead of the configuration's word.", valueName: "host:port"))
    var address: ListenAddress?

    func client() throws -> DaemonClient {
        if let address { return DaemonClient(address: address.reachable) }
        do throws(ConfigurationProblems) {
            return DaemonClient(address: try configuration.source().loadListen().reachable)
        } catch {
            throw AddressUnknown(problems: error)
        }
    }
}

/// The configuration does not say where the daemon listens.
struct AddressUnknown: Error {
    var problems: ConfigurationProblems
}

struct JSONOption: ParsableArguments {
    @Flag(help: "Print the result as JSON.")
    var json = false
}

extension ListenAddress: ExpressibleByArgument {
    init?(argument: String) { self.init(setting: argument) }
}
