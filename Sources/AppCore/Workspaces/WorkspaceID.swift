import FoundationEssentials

extension Workspace {
    /// The number of a workspace, from 1 on, as the database counts them. A task's identity does not fit where this is wanted.
    ///
    /// A number in JSON. A client may write it as a number or as text, in decimal digits, and in one way: `7`, not `07`, `7.0` or
    /// `+7`. So a workspace has one path, and who keeps answers by path keeps one.
    public struct ID: Sendable, Hashable, Comparable, RawRepresentable, LosslessStringConvertible, Codable, SQLParameter {
        public let rawValue: Int

        /// Nil below 1.
        public init?(rawValue: Int) {
            guard rawValue > 0 else { return nil }
            self.rawValue = rawValue
        }

        /// Nil for anything but the decimal digits of a number from 1 to 2⁶³−1, the first of them not 0.
        public init?(_ digits: String) {
            let bytes = digits.utf8
            guard bytes.first != UInt8(ascii: "0"), bytes.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(digits) else { return nil }
            self.init(rawValue: number)
        }

        /// From what a client sent in a path or a query.
        ///
        /// - Throws: `RequestProblem.invalid` naming `field`.
        public init(_ text: String, field: String) throws(RequestProblem) {
            guard let valid = Self(text) else { throw .invalid(field: field, reason: Self.refusal(of: .string(text))) }
            self = valid
        }

        /// From a column that refers to `workflows.id`.
        init(_ row: Row, _ column: String) throws(PostgresError) {
            guard let valid = Self(rawValue: try row.int(column)) else { throw .decoding(column: column, reason: "is below 1") }
            self = valid
        }

        public var description: String { String(rawValue) }
        public var sqlText: String? { description }

        public static func < (one: Self, other: Self) -> Bool { one.rawValue < other.rawValue }

        public init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            // The one thing that is no JSONValue is a number beyond every double.
            let found = (try? container.decode(JSONValue.self)) ?? .number(.infinity)
            let valid: Self? =
                switch found {
                case .integer(let number): Self(rawValue: number)
                case .string(let digits): Self(digits)
                default: nil
                }
            guard let valid else { throw DecodingError.dataCorruptedError(in: container, debugDescription: Self.refusal(of: found)) }
            self = valid
        }

        public func encode(to encoder: any Encoder) throws {
            var container = encoder.singleValueContainer()
            try container.encode(rawValue)
        }

        private static func refusal(of found: JSONValue) -> String {
            let fault =
                switch found {
                case .null, .bool, .integer: "is \(found)"
                // Its value alone is known, not how it was written.
                case .number(let number) where number >= 0x1p63: "is too large"
                case .number(let number): number < 0 ? "is negative" : "has a point or an exponent"
                case .decimal(let number): number < 0 ? "is negative" : number > Decimal(Int.max) ? "is too large" : "has a point or an exponent"
                case .string(let text): "is \"\(text.clipped)\""
                case .array: "is a list"
                case .object: "is an object"
                }
            return "\(fault); expected a whole number from 1 to \(Int.max), in decimal digits"
        }
    }
}
