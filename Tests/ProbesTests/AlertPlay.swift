import GRDB
import TestServers
import Testing
import Vitals

@testable import Probes

/// What the whole alert line is played on: a clock, a folder, a receiver in memory, and the log.
struct AlertStage: Sendable {
    let time = ManualTime()
    let scratch: Scratch
    let sender = StandIn()
    let lines = LogLines()
    let oncall: Receiver

    init() throws {
        scratch = try Scratch()
        oncall = try Receiver(name: "oncall", url: "https://example.org/canary", secrets: [Secret("canary-key")])
    }
}

/// A suite that plays the whole alert line, and how it waits for it.
protocol AlertPlay {
    var stage: AlertStage { get }
}

extension AlertPlay {
    var time: ManualTime { stage.time }
    var scratch: Scratch { stage.scratch }
    var sender: StandIn { stage.sender }
    var lines: LogLines { stage.lines }
    var oncall: Receiver { stage.oncall }

    static func receiver(_ name: String = "oncall", at url: String = "https://example.org/canary") throws -> Receiver {
        try Receiver(name: name, url: url, secrets: [Secret("canary-key")])
    }

    static func second() throws -> Receiver { try receiver("second", at: "https://example.com/hook") }

    func line(
        _ receivers: [Receiver]? = nil, rules: [Rule] = [.quick, .answers("redis")], sender: (any NoticeSender)? = nil,
        instance: String = "web-1:9798", outbox: Outbox? = nil
    ) throws -> AlertLine {
        AlertLine(
            outbox: try outbox ?? scratch.outbox(time: time, logger: lines.logger), receivers: receivers ?? [oncall], sender: sender ?? self.sender,
            time: time, rules: rules, instance: instance, logger: lines.logger)
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

    func untilDeadLetters(_ count: Int, _ line: AlertLine) async throws {
        try await until("there are \(count) dead letters") { line.dispatcher.snapshot().receivers[0].deadLetters == count }
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

extension AlertRecord {
    /// An alert that no board knows, for whoever looks at the outbox alone.
    static func sample(_ rule: String = "a", since start: WallTime? = nil) -> AlertRecord {
        var state = AlertState()
        state.startsAt = start
        if start != nil { state.phase = .firing }
        return AlertRecord(rule: rule, component: "pool", instance: "i", unit: .ratio, state: state)
    }
}

extension Outbox {
    /// Stores firing and resolved of one alert by turns, `n0`, `n1` and so on unless named otherwise, a second apart.
    ///
    /// - Returns: how many were released because too many waited.
    func swing(
        _ count: Int, from start: WallTime, named prefix: String = "n", after step: (Int, WallTime) async throws -> Void = { _, _ in }
    ) async throws -> Int {
        var record = AlertRecord.sample()
        var released = 0
        for number in 0..<count {
            let wall = start + .seconds(number)
            let fires = number.isMultiple(of: 2)
            if fires { record.state.startsAt = wall }
            record.state.phase = fires ? .firing : .quiet
            let notice = record.notice(id: "\(prefix)\(number)", why: fires ? .firing : .resolved, at: wall)
            released += try await commit(record, notice: notice, to: [named("oncall")]).count { $0.why == .tooMany }
            try await step(number, wall)
        }
        return released
    }

    /// Marks what is first for the recipient as accepted.
    @discardableResult
    func acceptFirst(for recipient: Recipient, at wall: WallTime) async throws -> String? {
        guard let head = try await waiting(for: recipient).heads.first else { return nil }
        _ = try await markDelivered(head, at: wall)
        return head.notice.id
    }
}

/// A recipient whose address is its name.
func named(_ name: String) -> Recipient { Recipient(name: name, addressKey: name) }
