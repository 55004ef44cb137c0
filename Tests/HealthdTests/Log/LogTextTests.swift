import Logging
import Testing
import Vitals

@testable import healthd

private func record(
    _ message: String, level: Logger.Level = .warning, label: String = "healthd", metadata: Logger.Metadata = [:]
) -> LogRecord {
    LogRecord(
        at: WallTime(secondsSince1970: 0), level: level, label: label, source: "healthd", message: message, metadata: metadata,
        file: "healthd/Program.swift", line: 42, function: "run()")
}

@Suite struct `A record of the log` {
    @Test func `takes metadata apart`() {
        let record = record(
            "m",
            metadata: [
                "b": "2", "a": ["inner": ["x": "1"], "list": ["p", ["q": "r"]]], "c": [["deep", "er"]], "empty": "",
            ])
        #expect(
            record.details == [
                .init("a", "inner", "x", value: "1"), .init("a", "list", value: "p"), .init("a", "list", "q", value: "r"),
                .init("b", value: "2"), .init("c", value: "[\"deep\", \"er\"]"), .init("empty", value: ""),
            ])
    }

    @Test func `is of bounded size, whatever was logged`() {
        let long = String(repeating: "é", count: 100_000)
        var metadata: Logger.Metadata = ["list": .array(Array(repeating: "\(long)", count: 1_000))]
        for number in 0..<1_000 { metadata["key\(number)"] = "\(long)" }
        let record = record(long, metadata: metadata)
        #expect(record.details.count == LogRecord.detailLimit)
        #expect(record.size < 256 * 1_024)
        #expect(record.message.utf8.count <= LogRecord.messageLimit)
        #expect(record.message.hasSuffix("é…") && record.details.allSatisfy { $0.value.hasSuffix("é…") })
    }

    @Test(arguments: [
        (1, "1 line was dropped because the log's reader did not keep up"),
        (12, "12 lines were dropped because the log's reader did not keep up"),
    ])
    func `says what is missing`(count: Int, message: String) {
        let record = LogRecord(droppedLines: count, within: .seconds(3), at: WallTime(secondsSince1970: 0))
        #expect(record.message == message)
        #expect(record.level == .warning)
        #expect(record.details.contains(.init("lines", value: "\(count)")) && record.details.contains(.init("within", value: "3 s")))
    }
}

@Suite struct `A line of the log` {
    @Test(
        arguments: [
            (record("ready"), "T warning healthd: [healthd] ready"),
            (record("ready", level: .info, label: ""), "T info: [healthd] ready"),
            (
                record("lost", level: .error, metadata: ["part": "pool", "after": "2 s", "at": ["host": "db"]]),
                "T error healthd: after=2 s at.host=db part=pool [healthd] lost"
            ),
            // Nothing that was logged begins a line of its own, or steers a terminal.
            (record("two\nlines\r\n", metadata: ["k\n": "a\nT error healthd: forged"]), "T warning healthd: k =a T error healthd: forged [healthd] two lines  "),
            (record("\u{1B}[31m\u{9B}1m\u{85}\u{2028}\u{0}\u{7F}"), "T warning healthd: [healthd]  [31m 1m    "),
            (record("grün 🙂"), "T warning healthd: [healthd] grün 🙂"),
        ])
    func `has swift-log's form`(record: LogRecord, line: String) {
        #expect(LogLine.text(of: record, stamp: "T") == line)
    }
}

@Suite struct `An entry of the journal` {
    private func texts(_ record: LogRecord) -> [String] {
        JournalFields.fields(of: record).map { String(decoding: $0, as: UTF8.self) }
    }

    @Test func `has the fields that systemd names, and one for each piece of metadata`() {
        let record = record("pool is critical", level: .error, metadata: ["value": "1.5", "oldest_wait": "0.2", "part": "health"])
        #expect(
            texts(record) == [
                "PRIORITY=3", "SYSLOG_IDENTIFIER=healthd", "MESSAGE=pool is critical (oldest_wait=0.2 part=health value=1.5)",
                "CODE_FILE=healthd/Program.swift", "CODE_LINE=42", "CODE_FUNC=run()", "HEALTHD_OLDEST_WAIT=0.2", "HEALTHD_PART=health",
                "HEALTHD_VALUE=1.5",
            ])
    }

    @Test func `keeps values as they were logged, and its message on one line`() {
        let record = record("m", metadata: ["problems": "one\ntwo=2\nPRIORITY=0", "list": ["a", "b"]])
        let fields = texts(record)
        #expect(fields.contains("HEALTHD_PROBLEMS=one\ntwo=2\nPRIORITY=0"))
        #expect(fields.filter { $0.hasPrefix("HEALTHD_LIST=") } == ["HEALTHD_LIST=a", "HEALTHD_LIST=b"])
        #expect(fields.contains("MESSAGE=m (list=a list=b problems=one two=2 PRIORITY=0)"))
        #expect(fields.filter { $0.hasPrefix("PRIORITY=") } == ["PRIORITY=4"])
    }

    @Test(arguments: [
        (["part"], "HEALTHD_PART"), (["error.message"], "HEALTHD_ERROR_MESSAGE"), (["hb.request.id"], "HEALTHD_HB_REQUEST_ID"),
        (["waiters refused"], "HEALTHD_WAITERS_REFUSED"), (["a", "b"], "HEALTHD_A_B"), (["9=\n"], "HEALTHD_9__"), (["ä"], "HEALTHD___"),
        ([""], "HEALTHD_"), ([String(repeating: "x", count: 100)], "HEALTHD_" + String(repeating: "X", count: 56)),
    ])
    func `has names that journald takes`(path: [String], name: String) {
        #expect(JournalFields.name(of: path) == name)
        #expect(name.utf8.count <= 64 && name.wholeMatch(of: /[A-Z][A-Z0-9_]*/) != nil)
    }

    @Test(
        arguments: zip(
            [Logger.Level.critical, .error, .warning, .notice, .info, .debug, .trace],
            [2, 3, 4, 5, 6, 7, 7]))
    func `has syslog's priority`(level: Logger.Level, priority: Int) {
        #expect(JournalFields.priority(of: level) == priority)
    }

    @Test(arguments: [
        ("8:1234", LogDestination.journal), ("8:12345", .lines), ("9:1234", .lines), ("", .lines), ("8", .lines), (nil, .lines),
    ] as [(String?, LogDestination)])
    func `is made when standard error is the journal's`(variable: String?, destination: LogDestination) {
        #expect(LogDestination(journalStream: variable, device: 8, inode: 1_234) == destination)
    }
}
