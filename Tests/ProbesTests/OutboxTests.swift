import Dispatch
import GRDB
import TestServers
import Testing
import Vitals

@testable import Probes

/// What is kept for whom, row by row.
@Suite struct `The outbox`: AlertPlay {
    let stage: AlertStage

    init() throws { stage = try AlertStage() }

    @Test func `bounds what waits for one alert by whole episodes`() async throws {
        let outbox = try scratch.outbox()
        let released = try await outbox.swing(40, from: time.wallNow())
        // The 17th and the 29th are one too many: each time all goes that was over, but for the first and the latest episode.
        #expect(outbox.policy.depth == 16)
        #expect(released == 24)
        var left: [String] = []
        while let id = try await outbox.acceptFirst(for: named("oncall"), at: time.wallNow()) { left.append(id) }
        #expect(left == ["n0", "n1"] + (26..<40).map { "n\($0)" })
    }

    @Test func `releases no all-clear of a firing that was delivered`() async throws {
        let outbox = try scratch.outbox()
        _ = try await outbox.swing(20, from: time.wallNow()) { number, wall in
            // The receiver hears of the first firing, and then of nothing more.
            if number == 0 { try await outbox.acceptFirst(for: named("oncall"), at: wall) }
        }
        let queue = try await outbox.waiting(for: named("oncall"))
        #expect(queue.heads.map(\.notice.id) == ["n1"])
        #expect(queue.waiting.count < 19)
    }

    @Test func `forgets what was delivered long ago, but nothing of an open alert`() async throws {
        let outbox = try scratch.outbox()
        for (name, open) in [("a", true), ("b", false)] {
            var record = AlertRecord.sample(name, since: time.wallNow())
            try await outbox.commit(record, notice: record.notice(id: name, why: .firing, at: time.wallNow()), to: [named("oncall")])
            try await outbox.acceptFirst(for: named("oncall"), at: time.wallNow())
            if !open {
                record.state.phase = .quiet
                try await outbox.commit(record, notice: nil, to: [named("oncall")])
            }
        }
        try await outbox.prune(at: time.wallNow() + .seconds(8 * 86_400))
        #expect(try await outbox.recentNotices() == ["a"])
    }

    @Test func `keeps what was delivered late as long as what was delivered at once`() async throws {
        let outbox = try scratch.outbox()
        var record = AlertRecord.sample(since: time.wallNow())
        try await outbox.commit(record, notice: record.notice(id: "n", why: .firing, at: time.wallNow()), to: [named("oncall")])
        record.state.phase = .quiet
        try await outbox.commit(record, notice: nil, to: [])
        let late = time.wallNow() + .seconds(8 * 86_400)
        try await outbox.acceptFirst(for: named("oncall"), at: late)
        try await outbox.prune(at: late + .seconds(3_600))
        #expect(try await outbox.recentNotices() == ["n"])
        try await outbox.prune(at: late + .seconds(8 * 86_400))
        #expect(try await outbox.recentNotices() == [])
    }

    @Test func `keeps a thousand notices that are over, the latest`() async throws {
        let outbox = try scratch.outbox()
        let created = time.wallNow().microsecondsSince1970
        try await outbox.store.write { database in
            try database.execute(
                sql: """
                    WITH RECURSIVE n (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM n WHERE number < 1005)
                    INSERT INTO alert_notices (id, fingerprint, episode, status, notice, created)
                        SELECT 'n' || number, 'f', 'e', 'firing', '{}', ? FROM n
                    """, arguments: [created])
        }
        try await outbox.prune(at: time.wallNow())
        #expect(Outbox.historyLimit == 1_000)
        #expect(try await outbox.number("SELECT count(*) FROM alert_notices") == 1_000)
        #expect(try await outbox.recentNotices().last == "n6")
    }

    @Test func `releases the end of what became a dead letter, unless that is one as well`() async throws {
        let outbox = try scratch.outbox()
        let oncall = named("oncall")
        _ = try await outbox.swing(2, from: time.wallNow())
        let both = try await outbox.waiting(for: oncall).waiting
        #expect(both.map(\.id) == ["n0", "n1"])
        let released = try await outbox.makeDeadLetters(of: [both[0]], for: oncall, answer: "test", at: time.wallNow())
        #expect(released.map(\.why) == [.neverTold])
        #expect(try await outbox.waiting(for: oncall).waiting.isEmpty)

        _ = try await outbox.swing(2, from: time.wallNow() + .seconds(60), named: "m")
        let all = try await outbox.waiting(for: oncall).waiting
        #expect(all.map(\.id) == ["m0", "m1"])
        #expect(try await outbox.makeDeadLetters(of: all, for: oncall, answer: "test", at: time.wallNow()) == [])
        #expect(try await outbox.deadLetters().count == 3)
    }

    @Test func `a receiver that moves away and back has no dead letter of what it accepted before`() async throws {
        let outbox = try scratch.outbox()
        let (here, there) = (Recipient(name: "oncall", addressKey: "here"), Recipient(name: "oncall", addressKey: "there"))
        let record = AlertRecord.sample(since: time.wallNow())
        try await outbox.commit(record, notice: record.notice(id: "n", why: .firing, at: time.wallNow()), to: [here])
        try await outbox.acceptFirst(for: here, at: time.wallNow())
        _ = try await outbox.reconcile(at: time.wallNow()) { [there] }
        #expect(try await outbox.waiting(for: there).waiting.map(\.id) == ["n"], "told anew of what is open")
        let back = try await outbox.reconcile(at: time.wallNow()) { [here] }
        #expect(back.deadLetters == [:])
        #expect(try await outbox.deadLetters().isEmpty)
        #expect(try await outbox.waiting(for: here).waiting.isEmpty, "nothing twice")
    }

    @Test func `a receiver that goes, comes at another address and comes back is told of what is over by then, from its beginning`() async throws {
        let outbox = try scratch.outbox()
        let (here, there) = (Recipient(name: "oncall", addressKey: "here"), Recipient(name: "oncall", addressKey: "there"))
        var record = AlertRecord.sample(since: time.wallNow())
        try await outbox.commit(record, notice: record.notice(id: "n", why: .firing, at: time.wallNow()), to: [here])
        let gone = try await outbox.reconcile(at: time.wallNow()) { [] }
        #expect(gone.deadLetters == ["oncall": 1])
        _ = try await outbox.reconcile(at: time.wallNow()) { [there] }
        record.state.phase = .quiet
        try await outbox.commit(record, notice: record.notice(id: "end", why: .resolved, at: time.wallNow()), to: [there])
        let back = try await outbox.reconcile(at: time.wallNow()) { [here] }
        #expect(back == Reconciled())
        #expect(try await outbox.waiting(for: here).waiting.map(\.id) == ["n", "end"])
    }

    @Test func `counts what is released because too many wait, at a start as well`() async throws {
        let outbox = try scratch.outbox()
        var record = AlertRecord.sample(since: time.wallNow())
        record.state.phase = .quiet
        for number in 0..<10 {
            let notice = record.notice(id: "n\(number)", why: .escalated, at: time.wallNow())
            try await outbox.commit(record, notice: notice, to: Recipient.all([oncall]))
        }
        // The next process keeps fewer: of ten firings the first and the latest.
        let fewer = Outbox(store: outbox.store, policy: OutboxPolicy(depth: 4))
        try await running(AlertLine(outbox: fewer, receivers: [oncall], sender: sender, time: time)) { line in
            try await until("they are counted") { line.dispatcher.snapshot().suppressed[.tooMany] == 8 }
            try await untilAttempts(2)
        }
        #expect(sender.ids() == ["n0", "n9"])
    }

    // MARK: Receivers that change

    @Test func `tells whoever is a receiver when the notice is stored: a reload that comes first is not passed over`() async throws {
        let outbox = try scratch.outbox()
        let record = AlertRecord.sample(since: time.wallNow())
        let notice = record.notice(id: "n", why: .firing, at: time.wallNow())
        try await reloading(outbox) { recipients in _ = try await outbox.commit(record, notice: notice, to: recipients) }
        #expect(try await outbox.waiting(for: named("new")).heads.count == 1)
    }

    @Test func `takes nothing from a receiver that a reload brought before its rows were brought in line`() async throws {
        let outbox = try scratch.outbox()
        let record = AlertRecord.sample(since: time.wallNow())
        try await outbox.commit(record, notice: record.notice(id: "n", why: .firing, at: time.wallNow()), to: [named("new")])
        let wall = time.wallNow()
        try await reloading(outbox) { recipients in
            let reconciled = try await outbox.reconcile(at: wall, with: recipients)
            #expect(reconciled == Reconciled())
        }
        #expect(try await outbox.waiting(for: named("new")).heads.count == 1)
        #expect(try await outbox.deadLetters().isEmpty)
    }

    /// To `new`, after `step` was begun and before the store comes to it.
    private func reloading(
        _ outbox: Outbox, _ step: @escaping @Sendable (_ recipients: @escaping @Sendable () -> [Recipient]) async throws -> Void
    ) async throws {
        let door = DispatchSemaphore(value: 0)
        let (entered, begun, reloads) = (Counter(), Counter(), Counter())
        try await withThrowingTaskGroup(of: Void.self) { group in
            // The store does one thing after the other: this one is first, and takes its time.
            group.addTask {
                try await outbox.store.read { _ in
                    entered.add()
                    door.wait()
                }
            }
            try await until("the store is busy") { entered.value == 1 }
            // However this ends, the store goes on.
            defer { door.signal() }
            group.addTask {
                begun.add()
                try await step {
                    if reloads.value == 0 { Issue.record("who the receivers are was read before the transaction") }
                    return [named("new")]
                }
            }
            try await until("the step is begun") { begun.value == 1 }
            for _ in 0..<1_000 { await Task.yield() }
            reloads.add()
            door.signal()
            try await group.waitForAll()
        }
    }
}
