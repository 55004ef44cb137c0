import GRDB
import TestServers
import Testing
import Vitals

@testable import Probes

/// What a suite that plays the whole alert line has, and how it waits for it.
protocol AlertPlay {
    var time: ManualTime { get }
    var scratch: Scratch { get }
    var sender: StandIn { get }
    var lines: LogLines { get }
    var oncall: Receiver { get }
}

extension AlertPlay {
    static func receiver(_ name: String = "oncall", at url: String = "https://example.org/canary") throws -> Receiver {
        try Receiver(name: name, url: url, secrets: [Secret("canary-key")])
    }

    func line(
        _ receivers: [Receiver]? = nil, rules: [Rule] = [.quick, .answers("redis")], sender: (any NoticeSender)? = nil
    ) throws -> AlertLine {
        AlertLine(
            outbox: try scratch.outbox(time: time, logger: lines.logger), receivers: receivers ?? [oncall], sender: sender ?? self.sender,
            time: time, rules: rules, logger: lines.logger)
    }

    /// Runs the line while `body` plays; the process is "killed" when it returns.
    func running(_ line: AlertLine, _ body: (AlertLine) async throws -> Void) async throws {
        try await withThrowingDiscardingTaskGroup { group in
            group.addTask { await line.dispatcher.run() }
            try await body(line)
            group.cancelAll()
        }
    }

    func untilAttempts(_ count: Int, to receiver: String = "oncall") async throws {
        try await until("\(count) attempts to \(receiver)") { sender.attempts(to: receiver).count == count }
    }

    func untilQueued(_ count: Int, for receiver: String = "oncall", _ line: AlertLine) async throws {
        try await until("\(count) are queued for \(receiver)") {
            line.dispatcher.snapshot().receivers.first { $0.name == receiver }?.queued == count
        }
    }

    /// A receiver may have been told before the alert is seen to be open: the disk has it first.
    func untilOpen(_ count: Int, _ line: AlertLine) async throws {
        try await until("\(count) alerts are open") { line.dispatcher.snapshot().open.count == count }
    }

    func untilGivenUp(_ count: Int, _ line: AlertLine) async throws {
        try await until("\(count) are given up") { line.dispatcher.snapshot().receivers[0].deadLetters == count }
    }

    /// Lets time pass until it holds; nothing else may be asleep for longer than it matters.
    func passing(_ what: String, step: Duration = .milliseconds(100), _ condition: () -> Bool) async throws {
        try await until(what) {
            if condition() { return true }
            time.advance(by: step)
            for _ in 0..<20 where !condition() { await Task.yield() }
            return condition()
        }
    }

    /// Lets a long time pass in steps that the parts have the time to notice.
    func letPass(_ duration: Duration, step: Duration = .seconds(600)) async throws {
        let end = time.now() + duration
        try await passing("\(duration.text) have passed", step: step) { time.now() >= end }
    }

    func redisFails(_ line: AlertLine) {
        for _ in 0..<2 { line.redis(ProbeFailure(.unreachable, "connection refused"), time: time) }
    }

    func awayAnswer() -> DeliveryAnswer { .tryAgain(.unreachable, reason: "no delivery to example.org: connection refused", after: nil) }
}

/// A delivery that was given up.
struct DeadLetter: Sendable, Hashable {
    var receiver: String
    var reason: String
}

extension Outbox {
    @discardableResult
    func commit(_ record: AlertRecord, notice: Notice?, to recipients: [Recipient]) async throws -> [Released] {
        try await commit(record, notice: notice) { recipients }
    }

    /// Newest first.
    func deadLetters() async throws -> [DeadLetter] {
        try await store.read { database in
            try Row.fetchAll(database, sql: "SELECT receiver, answer FROM alert_deliveries WHERE state = 'dead' ORDER BY updated DESC, notice DESC")
                .map { DeadLetter(receiver: $0["receiver"], reason: $0["answer"]) }
        }
    }

    /// Ids of all that are kept, newest first.
    func recentNotices() async throws -> [String] {
        try await store.read { try String.fetchAll($0, sql: "SELECT id FROM alert_notices ORDER BY sequence DESC") }
    }

    func number(_ sql: String) async throws -> Int {
        try await store.read { try Int.fetchOne($0, sql: sql) ?? -1 }
    }
}

/// A recipient whose address is its name.
func named(_ name: String) -> Recipient { Recipient(name: name, address: name) }
