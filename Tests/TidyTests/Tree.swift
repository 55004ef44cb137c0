import FoundationEssentials
import Testing

/// The files of this checkout that are ours, as text.
struct Tree: Sendable {
    struct File: Sendable {
        /// From the root of the checkout: `Sources/AppCore/Pool/Pool.swift`.
        var path: String
        var text: String

        var lines: [Substring] { text.split(separator: "\n", omittingEmptySubsequences: false) }

        /// Without comments and string literals' contents being understood: good enough to look for a word of the language.
        var code: String {
            lines.map { line in
                let trimmed = line.drop(while: \.isWhitespace)
                return trimmed.hasPrefix("//") ? "" : String(line)
            }.joined(separator: "\n")
        }

        /// The places, as `path:line`, of loops that ask again and again whether they may end: those that yield, or do nothing.
        var spins: [String] {
            let lines = code.split(separator: "\n", omittingEmptySubsequences: false)
            return lines.indices.filter { start in
                let head = lines[start]
                guard head.contains(/\bwhile\b.*\{|\brepeat\b.*\{/) else { return false }
                if head.contains(/\{\s*\}\s*$/) { return !head.contains("EINTR") }
                let margin = head.prefix { $0 == " " }.count
                let body = lines[(start + 1)...].prefix { $0.isEmpty || $0.prefix { $0 == " " }.count > margin }
                return head.contains("Task.yield") || body.contains { $0.contains("Task.yield") && !$0.contains(/\bfor\b.+\bin\b/) }
            }.map { "\(path):\($0 + 1)" }
        }
    }

    var files: [File]

    /// - Parameter folders: which folders of the checkout to read; hidden files and folders are left out.
    init(_ folders: String..., extensions: Set<String> = ["swift"]) throws {
        let root = Self.root
        files = try folders.flatMap { folder in
            try FileManager.default.subpathsOfDirectory(atPath: "\(root)/\(folder)").sorted().compactMap { path -> File? in
                guard let suffix = path.split(separator: ".").last, path.contains("."), extensions.contains(String(suffix)) else { return nil }
                return File(path: "\(folder)/\(path)", text: try String(contentsOfFile: "\(root)/\(folder)/\(path)", encoding: .utf8))
            }
        }
    }

    /// The root of the checkout: this file lies three levels below it.
    static var root: String {
        #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3).joined(separator: "/")
    }

    /// The places, as `path:line`, where the expression occurs in code.
    func places(of expression: some RegexComponent) -> [String] {
        files.flatMap { file in
            file.code.split(separator: "\n", omittingEmptySubsequences: false).enumerated().compactMap { index, line in
                line.contains(expression) ? "\(file.path):\(index + 1)" : nil
            }
        }
    }

    /// The files that import a module, whatever access level the import has.
    func importers(of module: String) -> [String] {
        files.filter { file in
            file.lines.contains { line in
                let words = line.split(separator: " ")
                return words.contains("import") && words.last == Substring(module) && !line.hasPrefix("//")
            }
        }.map(\.path)
    }
}
