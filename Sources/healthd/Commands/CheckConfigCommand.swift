import ArgumentParser
import FoundationEssentials

struct CheckConfigCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check-config", abstract: "Read the configuration as run does, and print every problem, or every setting in force.")

    @OptionGroup var options: ConfigurationOptions
    @OptionGroup var output: JSONOption

    @Flag(help: "As for run --embedded, where no database has to be named.")
    var embedded = false

    fileprivate struct Result: Encodable {
        struct Problem: Encodable {
            var key: String
            var file: String?
            var line: Int?
            var variable: String?
            var text: String
        }

        var good: Bool
        var sha256: String?
        var settings: [String: String]?
        var problems: [Problem]
    }

    func run() async throws {
        let source = options.source(mode: embedded ? .embedded : .configured)
        do throws(ConfigurationProblems) {
            let configuration = try source.load()
            guard output.json else {
                print(configuration.lines.joined(separator: "\n"))
                print("# the configuration is good; sha256 \(configuration.digest)")
                return
            }
            printJSON(Result(good: true, sha256: configuration.digest, settings: configuration.settings, problems: []))
        } catch {
            if output.json { printJSON(Result(good: false, problems: error.all.map { Result.Problem($0) })) }
            throw error
        }
    }
}

extension CheckConfigCommand.Result.Problem {
    fileprivate init(_ problem: ConfigurationProblem) {
        key = problem.key
        text = problem.text
        switch problem.origin {
        case .file(let name, let line): (file, self.line) = (name, line)
        case .environment(let name): variable = name
        case .unset: break
        }
    }
}

/// Sorted keys, indented: for a person or `jq`.
func printJSON(_ value: some Encodable) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    guard let data = try? encoder.encode(value) else { return }
    print(String(decoding: data, as: UTF8.self))
}
