import TestServers
import Testing
import Vitals

@testable import Probes

/// Several receivers with one address: two names for one chat, or one name that is about to replace another.
@Suite struct SharedAddressTests: AlertPlay {
    let stage: AlertStage

    init() throws { stage = try AlertStage() }

    private func receivers(_ names: [String]) throws -> [Receiver] { try names.map { try Self.receiver($0) } }

    static let changes: [(before: [String], after: [String])] = [
        (["a", "b"], ["b"]), (["a", "b"], ["a"]), (["a", "b"], ["b", "a"]), (["a", "b", "c"], ["c"]), (["a", "b", "c"], ["c", "b"]),
        (["a", "b"], ["c"]),
    ]

    @Test("D: who is told the end under another key is not said to be forgotten, nor told anew of what is open", arguments: SharedAddressTests.changes)
    func told(before: [String], after: [String]) async throws {
        let outbox = try scratch.outbox()
        let (former, present) = (Recipient.all(try receivers(before)), Recipient.all(try receivers(after)))
        var record = AlertRecord.sample(since: time.wallNow())
        try await outbox.commit(record, notice: record.notice(id: "n", why: .firing, at: time.wallNow()), to: former)
        for recipient in former { try await outbox.acceptFirst(for: recipient, at: time.wallNow()) }
        #expect(try await outbox.reconcile(at: time.wallNow()) { present } == Reconciled())
        for recipient in present { #expect(try await outbox.waiting(for: recipient).waiting.isEmpty, "nobody is told twice") }
        record.state.phase = .quiet
        #expect(try await outbox.commit(record, notice: record.notice(id: "end", why: .resolved, at: time.wallNow()), to: present) == [])
        for recipient in present { #expect(try await outbox.waiting(for: recipient).waiting.map(\.id) == ["end"]) }
    }

    @Test("D: what waits for one of them waits under its key of then, once for each that is left, and becomes no dead letter", arguments: SharedAddressTests.changes)
    func waiting(before: [String], after: [String]) async throws {
        let outbox = try scratch.outbox()
        let (former, present) = (Recipient.all(try receivers(before)), Recipient.all(try receivers(after)))
        let record = AlertRecord.sample(since: time.wallNow())
        try await outbox.commit(record, notice: record.notice(id: "n", why: .firing, at: time.wallNow()), to: former)
        #expect(try await outbox.reconcile(at: time.wallNow()) { present } == Reconciled())
        for recipient in present { #expect(try await outbox.waiting(for: recipient).waiting.map(\.id) == ["n"]) }
        #expect(try await outbox.number("SELECT count(*) FROM alert_deliveries") == present.count)
    }

    @Test("D: what one of them has accepted and the other has not is not sent to what is left of them", arguments: ["a", "b"], ["a", "b"])
    func halfTold(accepts: String, stays: String) async throws {
        let outbox = try scratch.outbox()
        let (former, present) = (Recipient.all(try receivers(["a", "b"])), Recipient.all(try receivers([stays])))
        let record = AlertRecord.sample(since: time.wallNow())
        try await outbox.commit(record, notice: record.notice(id: "n", why: .firing, at: time.wallNow()), to: former)
        for recipient in former where recipient.name == accepts { try await outbox.acceptFirst(for: recipient, at: time.wallNow()) }
        #expect(try await outbox.reconcile(at: time.wallNow()) { present } == Reconciled())
        #expect(try await outbox.waiting(for: present[0]).waiting.isEmpty)
        #expect(try await outbox.waiting(for: present[0]).told == [record.episode])
    }

    @Test("D: when the first of them is removed while an alert is open, the other is told the end, and no line says otherwise")
    func removed() async throws {
        let both = try receivers(["a", "b"])
        try await running(line(both)) { line in
            line.pool(1.5, time: time)
            try await untilAttempts(1, to: "a")
            try await untilAttempts(1, to: "b")
            try await untilQueued(0, for: "a", line)
            try await untilQueued(0, for: "b", line)
            line.dispatcher.replace(receivers: [both[1]])
            try await until("b is known as told") { line.dispatcher.snapshot().open.first?.told == ["b"] }
            line.pool(0.1, time: time)
            try await untilAttempts(2, to: "b")
            try await untilQueued(0, for: "b", line)
        }
        #expect(sender.attempts(to: "b") == ["pool-saturation firing", "pool-saturation resolved"])
        #expect(!lines.all.contains { $0.contains("no longer configured") })
    }
}
