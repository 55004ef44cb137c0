import FoundationEssentials

/// A point on the wall clock, to the microsecond, as PostgreSQL's `timestamptz` keeps it: for rows, notices and logs, never for deadlines.
public struct WallTime: Sendable, Hashable, Comparable, Codable {
    public var microsecondsSince1970: Int64

    public init(microsecondsSince1970: Int64) {
        self.microsecondsSince1970 = microsecondsSince1970
    }

    public init(secondsSince1970 seconds: Double) {
        self.init(microsecondsSince1970: Int64((seconds * 1_000_000).rounded()))
    }

    /// Reads RFC 3339, with or without a fraction, `T` or a blank between date and time (PostgreSQL's text form), any offset; nil otherwise.
    public init?(rfc3339 text: String) {
        var text = text.replacing(" ", with: "T")
        // PostgreSQL shortens whole-hour offsets to two digits: +00.
        if let sign = text.lastIndex(where: { $0 == "+" || $0 == "-" }), text.distance(from: sign, to: text.endIndex) == 3 {
            text += ":00"
        }
        var fraction: Int64 = 0
        if let dot = text.firstIndex(of: ".") {
            let digits = text[text.index(after: dot)...].prefix { $0.isASCII && $0.isNumber }
            guard !digits.isEmpty, let value = Int64(digits.prefix(6)) else { return nil }
            fraction = value * [100_000, 10_000, 1_000, 100, 10, 1][min(digits.count, 6) - 1]
            text.removeSubrange(dot..<digits.endIndex)
        }
        guard Self.hasShape(text), let date = try? Date(text, strategy: Date.ISO8601FormatStyle(timeZoneSeparator: .colon)) else { return nil }
        self.init(microsecondsSince1970: Int64(date.timeIntervalSince1970.rounded()) * 1_000_000 + fraction)
    }

    /// The parser reads a beginning and leaves the rest: `0044-03-15 00:00:00+00 BC` is no time after Christ, `10000-01-01` none of the year 1000.
    private static func hasShape(_ text: String) -> Bool {
        let shape = Array("0000-00-00T00:00:00".utf8)
        let bytes = Array(text.utf8)
        func fits(_ bytes: some Collection<UInt8>, _ shape: some Collection<UInt8>) -> Bool {
            bytes.count == shape.count && zip(bytes, shape).allSatisfy { $1 == UInt8(ascii: "0") ? (0x30...0x39).contains($0) : $0 | 0x20 == $1 | 0x20 }
        }
        guard bytes.count > shape.count, fits(bytes.prefix(shape.count), shape) else { return false }
        let zone = bytes.dropFirst(shape.count)
        return fits(zone, "Z".utf8) || fits(zone, "+00:00".utf8) || fits(zone, "-00:00".utf8)
    }

    public var secondsSince1970: Double { Double(microsecondsSince1970) / 1_000_000 }

    /// RFC 3339 in UTC with milliseconds, e.g. `2026-11-24T03:12:45.120Z`.
    public var rfc3339: String {
        Date(timeIntervalSince1970: Double(microsecondsSince1970 / 1_000) / 1_000 + 0.000_1)
            .formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
    }

    /// RFC 3339 in UTC with all that is known: milliseconds, or microseconds where there are any. What is read back equals what was written.
    public var rfc3339Exact: String {
        let micros = ((microsecondsSince1970 % 1_000_000) + 1_000_000) % 1_000_000
        guard micros % 1_000 != 0 else { return rfc3339 }
        let digits = String(micros)
        return WallTime(microsecondsSince1970: microsecondsSince1970.subtractingSaturated(micros)).rfc3339
            .replacing(".000Z", with: "." + String(repeating: "0", count: 6 - digits.count) + digits + "Z")
    }

    public static func < (left: Self, right: Self) -> Bool { left.microsecondsSince1970 < right.microsecondsSince1970 }

    // Rows may hold any time: what would be beyond the first or the last is that one.

    public static func + (time: Self, duration: Duration) -> Self {
        Self(microsecondsSince1970: time.microsecondsSince1970.addingSaturated(duration.nanoseconds / 1_000))
    }

    public static func - (later: Self, earlier: Self) -> Duration {
        .microseconds(later.microsecondsSince1970.subtractingSaturated(earlier.microsecondsSince1970))
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let time = WallTime(rfc3339: text) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "expected an RFC 3339 time, found \"\(text)\"")
        }
        self = time
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(rfc3339Exact)
    }
}
