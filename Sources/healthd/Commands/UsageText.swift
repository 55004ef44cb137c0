import ArgumentParser
import Vitals

/// What a person reads who calls a verb wrongly: one sentence, then how it is called.
enum UsageText {
    /// As wide as a terminal at least is.
    static let columns = 80

    /// The argument parser's words for an error of its own, without what the arguments may hold of a secret.
    static func complaint(about error: any Error, in arguments: [String]) -> String {
        let words = Healthd.message(for: error)
        let rest = Healthd.fullMessage(for: error, columns: columns).dropFirst("Error: \(words)".count).drop { $0.isNewline }
        return text(sentence(withoutSecrets(words, of: arguments)), String(rest))
    }

    /// The parser quotes an argument as a whole, or an option's name and its value each for itself.
    private static func withoutSecrets(_ words: String, of arguments: [String]) -> String {
        let pieces = arguments.flatMap { argument in
            let option = argument.hasPrefix("-") ? argument[...].parted(at: "=") : nil
            return option.map { [$0.after, $0.before] } ?? [argument[...]]
        }
        var words = words
        // The longest first: one may be a piece of another.
        for piece in pieces.sorted(by: { $0.count > $1.count }) {
            guard let kind = Quotation.kind(of: String(piece)) else { continue }
            words = words.replacing("'\(piece)'", with: "(\(kind))").replacing(piece, with: "(\(kind))")
        }
        return words
    }

    static func text(_ sentence: String, _ usage: String) -> String {
        "healthd: \(sentence)\n\(usage)".split(separator: "\n", omittingEmptySubsequences: false)
            .map { wrapped(String($0)) }.joined(separator: "\n")
    }

    /// `Unknown option '--jsno'. Did you …` in small letters, as it stands after the program's name.
    private static func sentence(_ words: String) -> String {
        words.prefix(1).lowercased() + words.dropFirst()
    }

    /// At blanks, later lines indented; a word that is longer than a line stays whole.
    static func wrapped(_ line: String) -> String {
        guard line.count > columns else { return line }
        let margin = String(line.prefix { $0 == " " })
        var lines: [String] = []
        var current = margin
        for word in line.split(separator: " ") {
            if current.allSatisfy({ $0 == " " }) {
                current += word
            } else if current.count + 1 + word.count <= columns {
                current += " \(word)"
            } else {
                lines.append(current)
                current = "\(margin)    \(word)"
            }
        }
        return (lines + [current]).joined(separator: "\n")
    }
}

/// `healthd` alone. Not well, so that a unit or a script that lost its verb does not pass for one that worked.
struct NoVerb: Error {
    var text: String { UsageText.text("no verb is given", "\n" + Healthd.helpMessage(columns: UsageText.columns)) }
}

/// A word where a verb belongs, and is none.
struct StrayVerb: Error, Hashable {
    /// The verbs before it, as they are written: `healthd alerts`.
    var path: String
    var word: String
    var verbs: [String]

    /// Nil when every word that should be a verb is one.
    init?(in arguments: [String]) {
        var command: any ParsableCommand.Type = Healthd.self
        path = command._commandName
        for (index, argument) in arguments.enumerated() {
            let subcommands = command.configuration.subcommands
            if index == 0, argument == "help" { continue }
            // An option, and what may be its value, is for the parser to judge; so is what a verb without verbs of its own takes.
            guard !argument.hasPrefix("-"), !subcommands.isEmpty else { return nil }
            guard let next = subcommands.first(where: { $0._commandName == argument }) else {
                word = argument
                verbs = subcommands.map { $0._commandName }
                return
            }
            command = next
            path += " \(argument)"
        }
        return nil
    }

    var text: String {
        let guess = nearestName(to: word, among: verbs).map { "; did you mean \"\($0)\"?" } ?? ""
        let place = path.contains(" ") ? " of \"\(path)\"" : ""
        return UsageText.text(
            Quotation.kind(of: word).map { "\($0), stands where a verb\(place) is expected" }
                ?? "there is no verb \"\(word.oneLine(limit: 100))\"\(place)\(guess)",
            "Verbs: \(verbs.joined(separator: ", "))\n  See '\(path) --help' for more information.")
    }
}
