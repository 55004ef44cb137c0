import Vitals
import Yams

/// A YAML file laid flat: what stands at which path and line. Knows nothing of what the settings mean.
///
/// Paths join keys with dots and number list elements: `database.pool.max`, `receivers[0].name`.
struct SettingFile: Sendable {
    enum Content: Sendable, Hashable {
        /// One value as written; an absent one (`max:`) is nil.
        case scalar(String?)
        case group
        case list(count: Int)
    }

    struct Entry: Sendable, Hashable {
        var path: String
        var line: Int
        var content: Content
    }

    let name: String
    /// In the order of the file; a group stands before its members.
    private(set) var entries: [Entry] = []
    private var index: [String: Int] = [:]

    /// A configuration is a page; what is larger is not one, and aliases must not multiply it.
    static let largestText = 1 << 20
    static let mostEntries = 20_000

    /// - Throws: one `ConfigurationProblem` with the line, when the text is not YAML or not a mapping.
    init(name: String, yaml: String) throws(ConfigurationProblem) {
        self.name = name
        guard yaml.utf8.count <= Self.largestText else {
            throw problem(1, "is \(yaml.utf8.count) bytes long; expected at most \(Self.largestText)")
        }
        let root: Node?
        do {
            // Of a byte order mark YAML knows more than its library.
            root = try Yams.compose(yaml: yaml.unicodeScalars.first == "\u{FEFF}" ? String(yaml.unicodeScalars.dropFirst()) : yaml)
        } catch {
            let (line, text) = Self.sentence(for: error)
            throw problem(line, text)
        }
        switch root {
        case nil: break
        case .mapping(let mapping)?: try add(mapping, below: "")
        case .scalar(let scalar)? where Self.text(of: scalar) == nil: break
        case .some(let node):
            throw problem(node.mark?.line ?? 1, "the file must be a mapping of settings, such as `listen: 127.0.0.1:9798`")
        }
    }

    subscript(path: String) -> Entry? { index[path].map { entries[$0] } }

    private func problem(_ line: Int, _ text: String) -> ConfigurationProblem {
        ConfigurationProblem(key: "", origin: .file(name, line: line), text: text)
    }

    private mutating func add(_ mapping: Node.Mapping, below parent: String) throws(ConfigurationProblem) {
        for (key, value) in mapping {
            let line = key.mark?.line ?? 1
            guard case .scalar(let scalar) = key else { throw problem(line, Self.noName) }
            if let kind = Quotation.kind(of: scalar.string) { throw problem(line, "holds \(kind), where the name of a setting is expected") }
            guard Self.isName(scalar.string) else { throw problem(line, Self.noName) }
            try add(value, at: parent.isEmpty ? scalar.string : "\(parent).\(scalar.string)", line: line)
        }
    }

    private mutating func add(_ node: Node, at path: String, line: Int) throws(ConfigurationProblem) {
        guard entries.count < Self.mostEntries else { throw problem(line, "the file holds more than \(Self.mostEntries) entries") }
        func entry(_ content: Content) -> Entry { Entry(path: path, line: line, content: content) }
        index[path] = entries.count
        switch node {
        case .scalar(let scalar): entries.append(entry(.scalar(Self.text(of: scalar))))
        case .mapping(let mapping):
            entries.append(entry(.group))
            try add(mapping, below: path)
        case .sequence(let sequence):
            entries.append(entry(.list(count: sequence.count)))
            for (number, element) in sequence.enumerated() {
                try add(element, at: "\(path)[\(number)]", line: element.mark?.line ?? line)
            }
        case .alias: throw problem(line, "holds an alias that names nothing")
        }
    }

    private static let noName = "holds a key that is not a plain name of letters, digits and hyphens"

    /// A dot or a bracket inside a key would make two places one path. An underscore is a slip that is told by the key's name.
    private static func isName(_ key: String) -> Bool {
        !key.isEmpty && key.utf8.allSatisfy { Character(Unicode.Scalar($0)).isLetter && $0 < 0x80 || (0x30...0x39).contains($0) || "-_".utf8.contains($0) }
    }

    /// Nil for what YAML calls null: nothing at all, `~` or `null`, unless quoted.
    private static func text(of scalar: Node.Scalar) -> String? {
        let isPlain = scalar.style == .plain || scalar.style == .any
        return isPlain && ["", "~", "null", "Null", "NULL"].contains(scalar.string) ? nil : scalar.string
    }

    private static func sentence(for error: any Error) -> (line: Int, text: String) {
        func joined(_ context: YamlError.Context?, _ problem: String) -> String {
            let context = context.map { "\($0.text) ".oneLine(limit: 100) } ?? ""
            return "is not YAML: \(context)\(problem)"
        }
        switch error as? YamlError {
        case .scanner(let context, let problem, let mark, _)?, .parser(let context, let problem, let mark, _)?,
            .composer(let context, let problem, let mark, _)?:
            return (mark.line, joined(context, problem))
        case .duplicatedKeysInMapping(let duplicates, let context)?:
            return (
                context.mark.line,
                "is given twice: \(duplicates.map { Quotation.kind(of: $0.description) ?? $0.description }.sorted().joined(separator: ", ").oneLine(limit: 200))"
            )
        case .reader(let problem, _, _, _)?:
            return (1, "is not YAML: \(problem)")
        default:
            return (1, "is not YAML: \("\(error)".oneLine(limit: 200))")
        }
    }
}
