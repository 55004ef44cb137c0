/// A statement in the pieces that PostgreSQL's own scanner would see, as far as names must be told from constants and remarks.
///
/// Plain literals are read as with `standard_conforming_strings = on`, which every session of ours sets. What does not end goes to the end of the text.
///
/// Source: PostgreSQL 15, section 4.1, and `src/backend/parser/scan.l`.
struct SQLTokens: Sequence, IteratorProtocol {
    enum Token: Equatable {
        /// A keyword or a name without quotes.
        case word(ArraySlice<UInt8>)
        /// With its quotes, and `U&` where it stands before them.
        case quotedName(ArraySlice<UInt8>)
        /// A literal of any kind, or a number.
        case constant
        /// `$1`
        case parameter(ArraySlice<UInt8>)
        case symbol(UInt8)
        /// Blanks and remarks.
        case blank

        /// As the server looks it up: a word in small letters, a quoted name as it stands between its quotes. Nil for what is no name.
        var name: String? {
            switch self {
            case .word(let bytes): String(decoding: bytes, as: UTF8.self).lowercased()
            case .quotedName(let bytes): String(decoding: bytes.drop { $0 != UInt8(ascii: "\"") }.dropFirst().dropLast(), as: UTF8.self)
            default: nil
            }
        }
    }

    private let bytes: [UInt8]
    private var rest: ArraySlice<UInt8>

    init(_ text: String) {
        bytes = Array(text.utf8)
        rest = bytes[...]
    }

    mutating func next() -> Token? {
        guard let first = rest.first else { return nil }
        if skipBlanks() { return .blank }
        switch first {
        case UInt8(ascii: "'"):
            skipLiteral(withEscapes: false)
            return .constant
        case UInt8(ascii: "\""): return .quotedName(takeQuotedName(from: rest.startIndex))
        case UInt8(ascii: "$"): return dollar()
        case _ where Self.beginsName(first): return word()
        case _ where Self.isDigit(first) || first == UInt8(ascii: ".") && rest.dropFirst().first.map(Self.isDigit) == true:
            skipNumber()
            return .constant
        default:
            rest = rest.dropFirst()
            return .symbol(first)
        }
    }

    // MARK: Blanks and remarks

    private mutating func skipBlanks() -> Bool {
        let before = rest.startIndex
        while let byte = rest.first {
            if byte == UInt8(ascii: " ") || (9...13).contains(byte) {
                rest = rest.dropFirst()
            } else if rest.starts(with: "--".utf8) {
                rest = rest.drop { $0 != 10 && $0 != 13 }
            } else if rest.starts(with: "/*".utf8) {
                skipRemark()
            } else {
                break
            }
        }
        return rest.startIndex > before
    }

    /// Remarks of this kind nest.
    private mutating func skipRemark() {
        var depth = 0
        repeat {
            if rest.starts(with: "/*".utf8) {
                depth += 1
                rest = rest.dropFirst(2)
            } else if rest.starts(with: "*/".utf8) {
                depth -= 1
                rest = rest.dropFirst(2)
            } else {
                rest = rest.dropFirst()
            }
        } while depth > 0 && !rest.isEmpty
    }

    // MARK: Constants

    /// Up to and with the closing quote; two quotes in a row stand for one. A literal may go on behind the end of a line: by the same rules, as
    /// the same constant.
    private mutating func skipLiteral(withEscapes: Bool) {
        rest = rest.dropFirst()
        while let byte = rest.popFirst() {
            if withEscapes, byte == UInt8(ascii: "\\") {
                rest = rest.dropFirst()
            } else if byte == UInt8(ascii: "'") {
                guard rest.first == byte || skipToNextPart() else { return }
                rest = rest.dropFirst()
            }
        }
    }

    /// Up to the quote with which a literal goes on; false, and nothing is skipped, when it does not. A line must end between its parts, and only
    /// blanks and remarks up to the end of a line may stand there.
    private mutating func skipToNextPart() -> Bool {
        var tail = rest
        var lineHasEnded = false
        while let byte = tail.first {
            switch byte {
            case UInt8(ascii: "'"):
                guard lineHasEnded else { return false }
                rest = tail
                return true
            case 10, 13:
                lineHasEnded = true
                tail = tail.dropFirst()
            case UInt8(ascii: " "), 9, 11, 12: tail = tail.dropFirst()
            case _ where tail.starts(with: "--".utf8): tail = tail.drop { $0 != 10 && $0 != 13 }
            default: return false
            }
        }
        return false
    }

    /// `1`, `1.5e-3`, `.5`, `0x1F`, `1_000`, and whatever letters follow.
    private mutating func skipNumber() {
        let isDecimal = !rest.starts(with: "0x".utf8) && !rest.starts(with: "0X".utf8)
        var before: UInt8 = 0
        while let byte = rest.first {
            let isSign = byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-")
            let isOfExponent = isSign && isDecimal && before | 0x20 == UInt8(ascii: "e") && rest.dropFirst().first.map(Self.isDigit) == true
            guard isOfExponent || Self.continuesName(byte) || byte == UInt8(ascii: ".") else { return }
            before = byte
            rest = rest.dropFirst()
        }
    }

    /// A parameter, a literal in `$$` or `$name$`, or the sign alone.
    private mutating func dollar() -> Token {
        let tail = rest.dropFirst()
        let digits = tail.prefix(while: Self.isDigit)
        if !digits.isEmpty {
            defer { rest = tail[digits.endIndex...] }
            return .parameter(rest[rest.startIndex..<digits.endIndex])
        }
        let name = tail.prefix { Self.continuesName($0) && $0 != UInt8(ascii: "$") }
        guard name.endIndex < tail.endIndex, tail[name.endIndex] == UInt8(ascii: "$") else {
            rest = tail
            return .symbol(UInt8(ascii: "$"))
        }
        let mark = rest[rest.startIndex...name.endIndex]
        rest = rest[mark.endIndex...]
        while !rest.isEmpty, !rest.starts(with: mark) { rest = rest.dropFirst() }
        rest = rest.dropFirst(mark.count)
        return .constant
    }

    // MARK: Names

    private mutating func word() -> Token {
        let word = rest.prefix(while: Self.continuesName)
        let tail = rest[word.endIndex...]
        let letter = word.count == 1 ? word[word.startIndex] | 0x20 : 0
        switch (letter, tail.first, tail.dropFirst().first) {
        case (UInt8(ascii: "e"), UInt8(ascii: "'"), _):
            rest = tail
            skipLiteral(withEscapes: true)
            return .constant
        case (UInt8(ascii: "b"), UInt8(ascii: "'"), _), (UInt8(ascii: "x"), UInt8(ascii: "'"), _), (UInt8(ascii: "n"), UInt8(ascii: "'"), _):
            rest = tail
            skipLiteral(withEscapes: false)
            return .constant
        case (UInt8(ascii: "u"), UInt8(ascii: "&"), UInt8(ascii: "'")):
            rest = tail.dropFirst()
            skipLiteral(withEscapes: false)
            return .constant
        case (UInt8(ascii: "u"), UInt8(ascii: "&"), UInt8(ascii: "\"")):
            let start = rest.startIndex
            rest = tail.dropFirst()
            return .quotedName(takeQuotedName(from: start))
        default:
            rest = tail
            return .word(word)
        }
    }

    private mutating func takeQuotedName(from start: Int) -> ArraySlice<UInt8> {
        rest = rest.dropFirst()
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "\"") else { continue }
            guard rest.first == byte else { break }
            rest = rest.dropFirst()
        }
        return bytes[start..<rest.startIndex]
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    private static func beginsName(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) || byte == UInt8(ascii: "_") || byte >= 0x80
    }

    private static func continuesName(_ byte: UInt8) -> Bool { beginsName(byte) || isDigit(byte) || byte == UInt8(ascii: "$") }
}
