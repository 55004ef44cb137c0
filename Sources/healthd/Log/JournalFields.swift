import Logging

/// A record as the fields of one entry of systemd's journal.
///
/// MESSAGE holds the metadata too, since that is all `journalctl` shows by default; each piece is a field of its own besides, whose
/// value is what was logged, line ends and all.
/// Source: systemd.journal-fields(7), and for names journal_field_valid() of systemd 252: A to Z, 0 to 9 and `_`, at most 64, not
/// beginning with `_` or a digit.
enum JournalFields {
    static let identifier = "healthd"
    private static let longestName = 64

    /// Each `NAME=value`, as sd_journal_sendv() takes them.
    static func fields(of record: LogRecord) -> [[UInt8]] {
        let details = LogLine.details(of: record)
        var fields = [
            ("PRIORITY", "\(priority(of: record.level))"),
            ("SYSLOG_IDENTIFIER", identifier),
            ("MESSAGE", LogLine.oneLine(record.message) + (details.isEmpty ? "" : " (\(details))")),
            ("CODE_FILE", record.file),
            ("CODE_LINE", "\(record.line)"),
            ("CODE_FUNC", record.function),
        ]
        fields += record.details.map { (name(of: $0.path), $0.value) }
        return fields.map { Array("\($0.0)=\($0.1)".utf8) }
    }

    /// `HEALTHD_` and the key in capitals; what a name may not hold becomes `_`.
    static func name(of path: [String]) -> String {
        let key = path.joined(separator: "_").utf8.map { byte -> Character in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"): Character(Unicode.Scalar(byte - 32))
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): Character(Unicode.Scalar(byte))
            default: "_"
            }
        }
        return String(("HEALTHD_" + key).prefix(longestName))
    }

    /// Source: syslog(3).
    static func priority(of level: Logger.Level) -> Int {
        switch level {
        case .critical: 2
        case .error: 3
        case .warning: 4
        case .notice: 5
        case .info: 6
        case .debug, .trace: 7
        }
    }
}
