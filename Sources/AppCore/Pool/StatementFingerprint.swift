import Vitals

/// A statement as people and labels may see it: literals replaced, blanks folded, and a short stable mark of the result.
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
        mark = Self.hash(normalised)
    }

    private static func normalise(_ statement: String) -> String {
        var result: [UInt8] = []
        var bytes = Array(statement.utf8)[...]
        while let byte = bytes.first {
            switch byte {
            case UInt8(ascii: "'"):
                bytes = bytes.dropFirst()
                skipQuoted(&bytes)
                result.append(UInt8(ascii: "?"))
            case UInt8(ascii: "0")...UInt8(ascii: "9") where !continuesName(result.last):
                bytes = bytes.drop { isNameByte($0) || $0 == UInt8(ascii: ".") }
                result.append(UInt8(ascii: "?"))
            case UInt8(ascii: " "), UInt8(ascii: "\n"), UInt8(ascii: "\t"), UInt8(ascii: "\r"):
                bytes = bytes.dropFirst()
                if result.last != UInt8(ascii: " ") && !result.isEmpty { result.append(UInt8(ascii: " ")) }
            default:
                bytes = bytes.dropFirst()
                result.append(byte)
            }
        }
        if result.last == UInt8(ascii: " ") { result.removeLast() }
        return String(decoding: result, as: UTF8.self)
    }

    /// Up to and with the closing quote; two quotes in a row stand for one.
    private static func skipQuoted(_ bytes: inout ArraySlice<UInt8>) {
        while let byte = bytes.popFirst() {
            guard byte == UInt8(ascii: "'") else { continue }
            guard bytes.first == UInt8(ascii: "'") else { return }
            bytes = bytes.dropFirst()
        }
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        (byte | 0x20) >= UInt8(ascii: "a") && (byte | 0x20) <= UInt8(ascii: "z") || byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")
            || byte == UInt8(ascii: "_") || byte >= 0x80
    }

    /// A digit after a name or `$` belongs to it: `idx_2`, `$1`.
    private static func continuesName(_ byte: UInt8?) -> Bool {
        byte.map { isNameByte($0) || $0 == UInt8(ascii: "$") } ?? false
    }

    /// FNV-1a, 64 bits: the same on every machine and in every process.
    private static func hash(_ text: String) -> String {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        let digits = String(hash, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
