/// What of a lease would still be there for the next one, as far as the server's command tags show it.
///
/// A changed setting, a LISTEN, a statement or cursor of the caller's own, a temporary table. Rather once too often than once too
/// little: an error here costs the pool two round trips, nobody an answer. No tag shows what a function does (`set_config()`,
/// `pg_advisory_lock()`, a DO block); the caller says so with `Lease.changesSession()`.
///
/// Source: PostgreSQL 15, section 55.7 (CommandComplete) and `src/include/tcop/cmdtaglist.h`.
enum SessionChange {
    /// - Parameters:
    ///   - tag: without row counts it is the command's name.
    ///   - text: the one statement it belongs to; nil when several stand in one text, and then the answer is the careful one.
    static func isShown(by tag: String, of text: String?) -> Bool {
        switch tag {
        case "SET":
            guard let text else { return true }
            let second = words(text, 2).dropFirst().first
            return second != "LOCAL" && second != "TRANSACTION"
        case "RESET", "LISTEN", "PREPARE", "DEALLOCATE", "DEALLOCATE ALL", "DISCARD ALL": return true
        case "DECLARE CURSOR": return text.map { words($0, 12).contains("HOLD") } ?? true
        case "CREATE TABLE", "CREATE VIEW", "CREATE SEQUENCE": return text.map(createsTemporary) ?? false
        // CREATE TABLE … AS and SELECT … INTO are counted as the SELECT they run; one that only reads answers rows and has no tag here.
        default: return tag.hasPrefix("SELECT") && (text.map(mentionsTemporary) ?? false)
        }
    }

    /// Of a text with several statements: whether a temporary object may be among what they make.
    static func mentionsTemporary(_ text: String) -> Bool {
        text.uppercased().contains("TEMP")
    }

    private static func createsTemporary(_ text: String) -> Bool {
        let first = words(text, 5)
        return first.first == "CREATE" && (first.contains("TEMP") || first.contains("TEMPORARY"))
    }

    /// The first words in capitals, comments skipped.
    private static func words(_ text: String, _ count: Int) -> [String] {
        var words: [String] = []
        var rest = Substring(text)
        while words.count < count {
            rest = rest.drop { !$0.isLetter && !$0.isNumber && $0 != "_" && $0 != "-" && $0 != "/" }
            if rest.hasPrefix("--") {
                rest = rest.drop { !$0.isNewline }
            } else if rest.hasPrefix("/*") {
                guard let end = rest.firstRange(of: "*/") else { break }
                rest = rest[end.upperBound...]
            } else if rest.first == "-" || rest.first == "/" {
                rest = rest.dropFirst()
            } else {
                let word = rest.prefix { $0.isLetter || $0.isNumber || $0 == "_" }
                guard !word.isEmpty else { break }
                words.append(word.uppercased())
                rest = rest[word.endIndex...]
            }
        }
        return words
    }
}

extension Operation.Request {
    /// - Parameter statement: which of a batch the tag belongs to.
    func changesSession(_ tag: String, statement: Int) -> Bool {
        switch self {
        case .statement(let sql): SessionChange.isShown(by: tag, of: sql.text)
        case .batch(let list): SessionChange.isShown(by: tag, of: list.indices.contains(statement) ? list[statement].text : nil)
        case .script(let text):
            SessionChange.isShown(by: tag, of: nil)
                || (tag.hasPrefix("CREATE") || tag.hasPrefix("SELECT")) && SessionChange.mentionsTemporary(text)
        }
    }

    /// Whether the session must be taken for changed when the caller gave up before the tag came.
    var mayChangeSession: Bool {
        switch self {
        case .statement(let sql): sql.operation == .other
        case .batch(let list): list.contains { $0.operation == .other }
        case .script: true
        }
    }
}
