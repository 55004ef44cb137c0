import AppCore

@testable import healthd

/// Decodes with a database named, so that a test speaks of its own problem only.
func decode(
    _ yaml: String?, _ environment: [String: String] = [:], mode: Configuration.Mode = .configured, files: [String: FileText] = [:],
    database: Bool = true
) throws(ConfigurationProblems) -> Configuration {
    let base = database ? ["PGHOST": "/run/postgresql"] : [:]
    return try Configuration.decode(
        yaml: yaml, environment: base.merging(environment) { _, given in given }, mode: mode, files: { files[$0] ?? .missing })
}

func problems(
    _ yaml: String?, _ environment: [String: String] = [:], mode: Configuration.Mode = .configured, files: [String: FileText] = [:],
    database: Bool = true
) -> [String] {
    do throws(ConfigurationProblems) {
        _ = try decode(yaml, environment, mode: mode, files: files, database: database)
        return []
    } catch {
        return error.all.map(\.description)
    }
}
