import Vitals

/// A statement as people and labels may see it: without constants and comments, blanks folded; and a short stable mark of that text.
///
/// `SELECT  pg_sleep(3)` and `SELECT pg_sleep(5)` are the same: `SELECT pg_sleep(?)`.
public struct StatementFingerprint: Sendable, Hashable {
    /// Without values; at most 200 bytes.
    public let text: String
    /// 16 hexadecimal digits.
    public let mark: String

    public init(_ statement: String) {
        let normalised = Self.normalise(statement)
        text = normalised.oneLine(limit: 200)
        mark = FNV1a(normalised.utf8).text
    }

    private static func normalise(_ statement: String) -> String {
        var result: [UInt8] = []
        var givesRows = false
        for token in SQLTokens(statement) {
            switch token {
            case .blank: result.append(UInt8(ascii: " "))
            case .constant: result.append(UInt8(ascii: "?"))
            case .parameter(let bytes), .quotedName(let bytes): result += bytes
            case .word(let bytes):
                if bytes.count == 5, token.name == "stdin" { givesRows = true }
                result += bytes
            case .symbol(let byte):
                result.append(byte)
                // The rows of a COPY in a dump, which are no statement and have no quotes.
                if givesRows, byte == UInt8(ascii: ";") { return text(result) + " …" }
            }
        }
        return text(result)
    }

    private static func text(_ bytes: [UInt8]) -> String {
        let blank = UInt8(ascii: " ")
        let end = (bytes.lastIndex { $0 != blank } ?? -1) + 1
        return String(decoding: bytes[..<end].drop { $0 == blank }, as: UTF8.self)
    }
}
