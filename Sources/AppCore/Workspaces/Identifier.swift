/// The identity of one kind of row: a task's does not fit where a user's is wanted.
///
/// Text form of a UUID, in lower case as PostgreSQL prints it.
public struct Identifier<Subject>: Sendable, Hashable, RawRepresentable, LosslessStringConvertible, Codable, SQLParameter {
    public let rawValue: String

    /// Nil for anything but 8-4-4-4-12 hexadecimal digits.
    public init?(rawValue: String) {
        let groups = rawValue.utf8.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        guard groups.map(\.count) == [8, 4, 4, 4, 12],
            groups.allSatisfy({ $0.allSatisfy { Character(Unicode.Scalar($0)).isHexDigit } })
        else { return nil }
        self.rawValue = rawValue.lowercased()
    }

    public init?(_ description: String) { self.init(rawValue: description) }

    /// From what a client sent.
    ///
    /// - Throws: `RequestProblem.invalid` naming `field`.
    public init(_ text: String, field: String) throws(RequestProblem) {
        guard let valid = Self(rawValue: text) else {
            throw .invalid(field: field, reason: "is \"\(text.clipped)\"; expected a UUID")
        }
        self = valid
    }

    /// From a column that the database declares as uuid.
    init(_ row: Row, _ column: String) throws(PostgresError) {
        guard let valid = Self(rawValue: try row.string(column)) else { throw .decoding(column: column, reason: "is not a UUID") }
        self = valid
    }

    public static func random(using generator: inout some RandomNumberGenerator) -> Self {
        // RFC 9562, version 4: four bits of version, two of variant.
        let high = (generator.next() & 0xFFFF_FFFF_FFFF_0FFF) | 0x4000
        let low = (generator.next() & 0x3FFF_FFFF_FFFF_FFFF) | 0x8000_0000_0000_0000
        func hex(_ value: UInt64) -> String {
            let digits = String(value, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }
        let digits = Array(hex(high) + hex(low))
        let groups = [digits[0..<8], digits[8..<12], digits[12..<16], digits[16..<20], digits[20..<32]]
        return Self(unchecked: groups.map { String($0) }.joined(separator: "-"))
    }

    private init(unchecked: String) {
        rawValue = unchecked
    }

    public var description: String { rawValue }
    public var sqlText: String? { rawValue }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let valid = Self(rawValue: text) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "is \"\(text.clipped)\"; expected a UUID")
        }
        self = valid
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(rawValue)
    }
}
