import Vitals

/// Where a setting's text came from; printed so that the reader goes straight to the place.
enum SettingOrigin: Sendable, Hashable {
    case file(String, line: Int)
    case environment(String)
    /// Nobody set it: the default stands.
    case unset
}

/// One thing that is wrong with the configuration, told so that it can be mended without a manual.
struct ConfigurationProblem: Error, Hashable, Sendable, CustomStringConvertible {
    /// The setting's path as in the file, e.g. `database.pool.max`.
    var key: String
    var origin: SettingOrigin
    /// What is wrong and what is expected; follows the key in a sentence. Never holds a secret.
    var text: String

    /// One line, whatever control characters a name in it holds.
    var description: String { sentence.oneLine(limit: .max) }

    private var sentence: String {
        switch origin {
        case .file(let path, let line): key.isEmpty ? "\(path):\(line): \(text)" : "\(path):\(line): \(key) \(text)"
        case .environment(let name): key.isEmpty || key == name ? "\(name) \(text)" : "\(name): \(key) \(text)"
        case .unset: key.isEmpty ? text : "\(key) \(text)"
        }
    }
}

/// Everything that is wrong with the configuration, found in one reading: the process does not start, or keeps what it has.
struct ConfigurationProblems: Error, Sendable, CustomStringConvertible {
    /// In the order of the file, then the environment, then what is missing.
    let all: [ConfigurationProblem]

    init(_ problems: [ConfigurationProblem]) {
        precondition(!problems.isEmpty, "no problem is not an error")
        all = problems.sorted { Self.rank($0) < Self.rank($1) }
    }

    /// One problem a line.
    var description: String { all.map(\.description).joined(separator: "\n") }

    private static func rank(_ problem: ConfigurationProblem) -> (Int, Int, String) {
        switch problem.origin {
        case .file(_, let line): (0, line, problem.key)
        case .environment(let name): (1, 0, name)
        case .unset: (2, 0, problem.key)
        }
    }
}
