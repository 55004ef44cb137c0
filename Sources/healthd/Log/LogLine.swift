import Logging

/// A record as one line of text: `2026-11-26T03:12:45+0000 warning healthd: part=health rule=pool-saturation [healthd] pool is degraded`.
///
/// It is swift-log's own form. No text that was logged can begin a line, or steer a terminal.
enum LogLine {
    static func text(of record: LogRecord, stamp: String) -> String {
        let label = record.label.isEmpty ? "" : " \(oneLine(record.label))"
        let details = Self.details(of: record)
        return "\(stamp) \(record.level)\(label):\(details.isEmpty ? "" : " \(details)") [\(oneLine(record.source))] \(oneLine(record.message))"
    }

    /// `part=pool waited=20 ms`
    static func details(of record: LogRecord) -> String {
        record.details.map { "\(oneLine($0.path.joined(separator: ".")))=\(oneLine($0.value))" }.joined(separator: " ")
    }

    /// Control characters of both sets, and Unicode's own line ends, become blanks.
    static func oneLine(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: isControl) else { return text }
        return String(String.UnicodeScalarView(text.unicodeScalars.map { isControl($0) ? " " : $0 }))
    }

    private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) || scalar.value == 0x2028 || scalar.value == 0x2029
    }
}
