import Glibc
public import Vitals

/// A value that can be bound to `$n`: its PostgreSQL text form, or nil for NULL.
public protocol SQLParameter {
    var sqlText: String? { get }
}

/// One statement with its parameters apart: an interpolated value becomes `$n` and is never part of the text.
///
/// `"SELECT name FROM workflows WHERE id = \(id)"` sends the text `SELECT name FROM workflows WHERE id = $1`.
public struct SQL: Sendable, ExpressibleByStringInterpolation {
    public private(set) var text: String
    /// In PostgreSQL's text form; nil is NULL. The server infers the types.
    public private(set) var parameters: [String?]

    public init(stringLiteral value: String) {
        text = value
        parameters = []
    }

    public init(stringInterpolation: StringInterpolation) {
        text = stringInterpolation.text
        parameters = stringInterpolation.parameters
    }

    /// In its text, or in a parameter.
    var hasZeroByte: Bool { text.hasZeroByte || parameters.contains { $0?.hasZeroByte ?? false } }

    /// A statement known only at run time, without parameters. Never build it from what a client sent.
    public init(unescaped text: String) {
        self.text = text
        parameters = []
    }

    public struct StringInterpolation: StringInterpolationProtocol {
        fileprivate var text = ""
        fileprivate var parameters: [String?] = []

        public init(literalCapacity: Int, interpolationCount: Int) {
            text.reserveCapacity(literalCapacity + interpolationCount * 3)
            parameters.reserveCapacity(interpolationCount)
        }

        public mutating func appendLiteral(_ literal: String) {
            text += literal
        }

        public mutating func appendInterpolation(_ value: some SQLParameter) {
            parameters.append(value.sqlText)
            text += "$\(parameters.count)"
        }

        public mutating func appendInterpolation(_ value: (some SQLParameter)?) {
            parameters.append(value?.sqlText)
            text += "$\(parameters.count)"
        }

        /// Splices text as it is: for column lists and the like that are written in this program.
        public mutating func appendInterpolation(unescaped fragment: String) {
            text += fragment
        }

        /// Splices a part of a statement, together with its parameters. In its text `$` stands before their numbers alone.
        mutating func appendInterpolation(fragment: SQL) {
            let pieces = fragment.text.split(separator: "$", omittingEmptySubsequences: false)
            for (index, piece) in pieces.enumerated() {
                guard index > 0 else {
                    text += piece
                    continue
                }
                let digits = piece.prefix { $0.isWholeNumber }
                guard let number = Int(digits) else { preconditionFailure("in the text of a fragment, $ stands for more than a parameter") }
                text += "$\(parameters.count + number)\(piece.dropFirst(digits.count))"
            }
            parameters += fragment.parameters
        }
    }
}

extension String: SQLParameter {
    public var sqlText: String? { self }
}

extension String {
    /// libpq would take the text up to there. By `memchr`: this is asked at every statement.
    var hasZeroByte: Bool {
        var text = self
        return text.withUTF8 { bytes in bytes.baseAddress.map { memchr($0, 0, bytes.count) != nil } ?? false }
    }
}

extension Int: SQLParameter {
    public var sqlText: String? { String(self) }
}

extension Int64: SQLParameter {
    public var sqlText: String? { String(self) }
}

extension Double: SQLParameter {
    /// PostgreSQL spells the special values `NaN`, `Infinity`, `-Infinity`.
    public var sqlText: String? { isNaN ? "NaN" : isInfinite ? (self < 0 ? "-Infinity" : "Infinity") : "\(self)" }
}

extension Bool: SQLParameter {
    public var sqlText: String? { self ? "t" : "f" }
}

extension WallTime: SQLParameter {
    public var sqlText: String? { rfc3339Exact }
}

extension Array: SQLParameter where Element: SQLParameter {
    /// PostgreSQL's array literal: `{"a","b",NULL}`.
    ///
    /// Source: PostgreSQL 15, section 8.15.6, array input and output syntax.
    public var sqlText: String? {
        let elements = map { element -> String in
            guard let text = element.sqlText else { return "NULL" }
            var quoted = "\""
            for character in text.unicodeScalars {
                if character == "\"" || character == "\\" { quoted.unicodeScalars.append("\\") }
                quoted.unicodeScalars.append(character)
            }
            return quoted + "\""
        }
        return "{" + elements.joined(separator: ",") + "}"
    }
}

extension SQL {
    /// What a statement does, by its first word: a small closed set for metric labels.
    public enum Operation: String, Sendable, Hashable, CaseIterable {
        /// Also VALUES and TABLE.
        case select
        case insert, update, delete
        /// It may read or write: that is said behind its queries.
        case with
        case transaction, other

        /// Whether its effect is undone with the transaction it runs in: it neither begins nor ends one, as COMMIT does and CALL may.
        var staysInItsTransaction: Bool {
            switch self {
            case .select, .insert, .update, .delete, .with: true
            case .transaction, .other: false
            }
        }
    }

    public var operation: Operation {
        // By bytes: this is asked at every statement.
        var word: UInt64 = 0
        for byte in text.utf8.prefix(8) {
            let lower = byte | 0x20
            guard lower >= UInt8(ascii: "a"), lower <= UInt8(ascii: "z") else { break }
            word = word << 8 | UInt64(lower)
        }
        switch word {
        case Self.select, Self.values, Self.table: return .select
        case Self.insert: return .insert
        case Self.update: return .update
        case Self.delete: return .delete
        case Self.with: return .with
        case Self.begin, Self.commit, Self.rollback, Self.savepoint: return .transaction
        default: return .other
        }
    }

    private static let select = word("select"), with = word("with"), values = word("values"), table = word("table")
    private static let insert = word("insert"), update = word("update"), delete = word("delete")
    private static let begin = word("begin"), commit = word("commit"), rollback = word("rollback"), savepoint = word("savepoin")

    private static func word(_ text: StaticString) -> UInt64 {
        text.withUTF8Buffer { $0.prefix(8).reduce(0) { $0 << 8 | UInt64($1) } }
    }
}
