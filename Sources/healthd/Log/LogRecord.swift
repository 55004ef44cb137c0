import Logging
import Vitals

/// One thing that was logged, all of it text and of bounded size: made by whoever logs, so that nothing has to be asked later.
struct LogRecord: Sendable, Hashable {
    /// One piece of metadata. A dictionary has become one for each of its keys, an array one for each element under the same path.
    struct Detail: Sendable, Hashable {
        var path: [String]
        var value: String

        init(_ path: String..., value: String) {
            self.path = path
            self.value = value
        }

        fileprivate init(path: [String], value: String) {
            self.path = path
            self.value = value
        }
    }

    var at: WallTime
    var level: Logger.Level
    /// Of the logger: `healthd`.
    var label: String
    /// The module that logs.
    var source: String
    var message: String
    /// Sorted by key.
    var details: [Detail]
    var file: String
    var line: UInt
    var function: String

    static let messageLimit = 8_192
    static let valueLimit = 4_096
    static let detailLimit = 48
    private static let depthLimit = 4

    init(
        at: WallTime, level: Logger.Level, label: String = "healthd", source: String = "healthd", message: String,
        metadata: Logger.Metadata = [:], file: String = #fileID, line: UInt = #line, function: String = #function
    ) {
        self.at = at
        self.level = level
        self.label = label
        self.source = source
        self.message = Self.clipped(message, to: Self.messageLimit)
        self.file = file
        self.line = line
        self.function = function
        details = []
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) { add(value, at: [key]) }
    }

    /// What it takes in a queue, roughly.
    var size: Int { details.reduce(256 + message.utf8.count) { $0 + 64 + $1.value.utf8.count } }

    private mutating func add(_ value: Logger.MetadataValue, at path: [String]) {
        guard details.count < Self.detailLimit else { return }
        switch value {
        case .dictionary(let members) where path.count < Self.depthLimit:
            for (key, value) in members.sorted(by: { $0.key < $1.key }) { add(value, at: path + [key]) }
        case .array(let elements):
            for element in elements {
                if case .array = element { add("\(element)", at: path) } else { add(element, at: path) }
            }
        case .dictionary, .string, .stringConvertible: add("\(value)", at: path)
        }
    }

    private mutating func add(_ text: String, at path: [String]) {
        guard details.count < Self.detailLimit else { return }
        details.append(Detail(path: path, value: Self.clipped(text, to: Self.valueLimit)))
    }

    /// The beginning of a text, whole characters of the Unicode standard, in at most `limit` bytes; a cut ends in `…`.
    private static func clipped(_ text: String, to limit: Int) -> String {
        guard text.utf8.count > limit else { return text }
        var end = text.utf8.index(text.startIndex, offsetBy: limit - 3)
        while end.samePosition(in: text.unicodeScalars) == nil { end = text.utf8.index(before: end) }
        return String(text[..<end]) + "…"
    }
}

extension LogRecord {
    /// What stands in the log where lines are missing.
    init(droppedLines count: Int, within period: Duration, at: WallTime) {
        self.init(
            missingLines: count, count == 1 ? "was dropped because the log's reader did not keep up" : "were dropped because the log's reader did not keep up",
            within: period, at: at)
    }

    /// What stands in the log after lines that nobody took: the pipe had no reader, or the disk no room.
    init(unwrittenLines count: Int, within period: Duration, at: WallTime) {
        self.init(
            missingLines: count, count == 1 ? "is missing because it could not be written" : "are missing because they could not be written",
            within: period, at: at)
    }

    private init(missingLines count: Int, _ what: String, within period: Duration, at: WallTime) {
        self.init(
            at: at, level: .warning, message: "\(count) \(count == 1 ? "line" : "lines") \(what)",
            metadata: ["part": "log", "lines": "\(count)", "within": "\(period.text)"])
    }
}
