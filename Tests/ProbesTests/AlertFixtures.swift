import FoundationEssentials
import GRDB
import Logging
import Synchronization
import TestServers
import Vitals

@testable import Probes

/// A folder that goes when the test does.
final class Scratch: Sendable {
    let path: String

    init() throws {
        path = "\(FileManager.default.temporaryDirectory.path())/healthd-probes-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    var file: String { "\(path)/healthd.sqlite" }

    /// One at a time is written to. The patience with the disk is for a busy machine.
    func outbox(
        time: any TimeSource = SystemTime(), logger: Logger = .quiet, patience: Duration = .seconds(60),
        prepare: @escaping @Sendable () throws -> Void = {}
    ) throws -> Outbox {
        var migrator = DatabaseMigrator()
        Outbox.registerMigrations(in: &migrator)
        return Outbox(
            store: try LocalStore(path: file, migrator: migrator, patience: patience, time: time, logger: logger, prepare: prepare))
    }
}

/// What a receiver reads out of a body.
struct Told: Decodable, Hashable, CustomStringConvertible {
    struct Alert: Decodable, Hashable {
        var status: String
        var labels: [String: String]
        var annotations: [String: String]
        var startsAt: String
        var endsAt: String
        var fingerprint: String
    }

    struct Extra: Decodable, Hashable {
        var id: String
        var notification: String
        var durationSeconds: Double?
        var holders: [Evidence.Holder]
        var waiters: [Evidence.Waiter]
    }

    var version: String
    var receiver: String
    var status: String
    var externalURL: String
    var groupKey: String
    var alerts: [Alert]
    var healthd: Extra

    var description: String { "\(alerts.first?.labels["alertname"] ?? "?") \(healthd.notification)" }
}

/// A receiver in memory that answers as it is told to.
final class StandIn: NoticeSender {
    private struct State {
        var answers: [DeliveryAnswer] = []
        var always: DeliveryAnswer = .accepted(status: 200)
        var attempts: [(receiver: String, id: String, body: Told)] = []
    }

    private let state = Mutex(State())

    func send(_ body: [UInt8], id: String, to receiver: Receiver) async -> DeliveryAnswer {
        state.withLock { state in
            if let told = try? JSONDecoder().decode(Told.self, from: Data(body)) {
                state.attempts.append((receiver.name, id, told))
            }
            return state.answers.isEmpty ? state.always : state.answers.removeFirst()
        }
    }

    func answer(_ answers: DeliveryAnswer..., then always: DeliveryAnswer = .accepted(status: 200)) {
        state.withLock { state in
            state.answers = answers
            state.always = always
        }
    }

    /// Every attempt, in order: `alert notification`.
    func attempts(to receiver: String = "oncall") -> [String] {
        state.withLock { $0.attempts.filter { $0.receiver == receiver }.map(\.body.description) }
    }

    func ids(to receiver: String = "oncall") -> [String] {
        state.withLock { $0.attempts.filter { $0.receiver == receiver }.map(\.id) }
    }

    func bodies(to receiver: String = "oncall") -> [Told] {
        state.withLock { $0.attempts.filter { $0.receiver == receiver }.map(\.body) }
    }
}

/// A receiver that notes what it gets as the stand-in does, and answers in a way of its own.
struct Answering: NoticeSender {
    let inner: StandIn
    let answer: @Sendable (_ usual: DeliveryAnswer, _ id: String, Receiver) async -> DeliveryAnswer

    func send(_ body: [UInt8], id: String, to receiver: Receiver) async -> DeliveryAnswer {
        await answer(await inner.send(body, id: id, to: receiver), id, receiver)
    }
}

extension StandIn {
    func answering(_ answer: @escaping @Sendable (_ usual: DeliveryAnswer, _ id: String, Receiver) async -> DeliveryAnswer) -> Answering {
        Answering(inner: self, answer: answer)
    }
}

/// A daemon's alert line, from samples to what receivers get.
struct AlertLine: Sendable {
    let board: HealthBoard
    let dispatcher: Dispatcher

    static let evidence = Evidence(
        holders: [.init(purpose: "demo.hold", statement: "SELECT pg_sleep($1)", ageSeconds: 0.4)],
        waiters: [.init(purpose: "demo.hold", ageSeconds: 0.3)])

    init(
        outbox: Outbox, receivers: [Receiver], sender: any NoticeSender, time: any TimeSource, policy: RetryPolicy = RetryPolicy(),
        rules: [Rule] = [.quick, .answers("redis")], instance: String = "web-1:9798", logger: Logger = LogLines().logger
    ) {
        board = HealthBoard(rules: rules, evidence: ["pool": { Self.evidence }], time: time)
        dispatcher = Dispatcher(
            outbox: outbox, receivers: receivers, rules: rules, sender: sender, instance: instance,
            externalURL: "http://web-1:9798", policy: policy, time: time, logger: logger)
        board.observe { [dispatcher] in dispatcher.observe($0) }
    }

    /// As if the pool's probe had just measured this.
    func pool(_ saturation: Double, time: any TimeSource) {
        board.record(
            Sample(
                probe: "pool", component: "pool", at: time.now(), wall: time.wallNow(), duration: .milliseconds(1),
                interval: .seconds(1), result: .success(Measurement(values: ["saturation": saturation]))))
    }

    func redis(_ failure: ProbeFailure?, time: any TimeSource) {
        board.record(
            Sample(
                probe: "redis", component: "redis", at: time.now(), wall: time.wallNow(), duration: .milliseconds(1),
                interval: .seconds(1), result: failure.map { .failure($0) } ?? .success(Measurement())))
    }
}

extension Rule {
    /// Pool saturation that recovers at once.
    static var quick: Rule {
        var rule = Rule.poolSaturation()
        rule.leaveAfter = .zero
        return rule
    }
}
