import Dispatch
import GRDB
import TestServers
import Testing
import Vitals

@testable import Probes

@Suite struct `The dispatcher`: AlertPlay {
    let stage: AlertStage

    init() throws { stage = try AlertStage() }

    @Test func `tells firing with its evidence, and resolved once`() async throws {
        try await running(line()) { line in
            line.pool(0.1, time: time)
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            time.advance(by: .seconds(60))
            line.pool(0.1, time: time)
            try await untilAttempts(2)
            try await untilQueued(0, line)
        }
        #expect(sender.attempts() == ["pool-saturation firing", "pool-saturation resolved"])
        let bodies = sender.bodies()
        #expect(bodies[0].healthd.holders == AlertLine.evidence.holders)
        #expect(bodies[0].healthd.waiters == AlertLine.evidence.waiters)
        #expect(bodies[0].groupKey == bodies[1].groupKey)
        #expect(bodies[0].alerts[0].startsAt == bodies[1].alerts[0].startsAt)
        #expect(Set(sender.ids()).count == 2)
    }

    @Test func `updates the same alert when it gets worse`() async throws {
        try await running(line()) { line in
            line.pool(0.85, time: time)
            try await untilAttempts(1)
            try await untilOpen(1, line)
            let open = try #require(line.dispatcher.snapshot().open.first)
            #expect(open.severity == .degraded)
            time.advance(by: .seconds(5))
            line.pool(1.5, time: time)
            try await untilAttempts(2)
        }
        let alerts = sender.bodies().map { $0.alerts[0] }
        #expect(sender.attempts() == ["pool-saturation firing", "pool-saturation escalated"])
        #expect(alerts.map { $0.labels["severity"] } == ["degraded", "critical"])
        #expect(alerts[0].fingerprint == alerts[1].fingerprint)
        #expect(alerts[0].startsAt == alerts[1].startsAt)
    }

    @Test func `tries again with the same id, and keeps firing before resolved`() async throws {
        sender.answer(then: awayAnswer())
        try await running(line()) { line in
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            line.pool(0.1, time: time)
            try await passing("six attempts") { sender.attempts().count >= 6 }
            let status = try #require(line.dispatcher.snapshot().receivers.first)
            #expect(status.lastError == "no delivery to example.org: connection refused")
            #expect(status.failingFor != nil)
            sender.answer()
            try await passing("the all-clear") { sender.attempts().contains("pool-saturation resolved") }
            try await untilQueued(0, line)
        }
        let attempts = sender.attempts()
        #expect(attempts.dropLast().allSatisfy { $0 == "pool-saturation firing" })
        #expect(attempts.last == "pool-saturation resolved")
        #expect(Set(sender.ids().dropLast()).count == 1)
    }

    @Test func `that was killed delivers what was stored, in order, with the same ids`() async throws {
        sender.answer(then: awayAnswer())
        try await running(line()) { line in
            line.pool(1.5, time: time)
            line.pool(0.1, time: time)
            redisFails(line)
            try await until("both alerts were tried") {
                Set(sender.attempts()) == ["pool-saturation firing", "redis-down firing"]
            }
            try await untilQueued(3, line)
        }
        let before = Dictionary(zip(sender.attempts(), sender.ids())) { first, _ in first }
        sender.answer()
        let seen = sender.attempts().count
        try await running(line()) { line in
            try await untilAttempts(seen + 3)
            line.redis(nil, time: time)
            try await untilAttempts(seen + 4)
        }
        let after = Array(zip(sender.attempts(), sender.ids()).dropFirst(seen))
        #expect(
            after.map(\.0) == [
                "pool-saturation firing", "pool-saturation resolved", "redis-down firing", "redis-down recovered-while-down",
            ])
        #expect(after[0].1 == before["pool-saturation firing"])
        #expect(after[2].1 == before["redis-down firing"])
    }

    @Test func `does not page twice for what was open before and still is`() async throws {
        try await running(line()) { line in
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            try await untilQueued(0, line)
        }
        try await running(line()) { line in
            try await untilOpen(1, line)
            line.pool(1.5, time: time)
            try await until("it is suppressed") { line.dispatcher.snapshot().suppressed[.dedup] == 1 }
            #expect(sender.attempts().count == 1)
            line.pool(0.1, time: time)
            try await untilAttempts(2)
        }
        #expect(sender.attempts() == ["pool-saturation firing", "pool-saturation resolved"])
    }

    @Test func `keeps a dead receiver from delaying another`() async throws {
        let second = try Self.second()
        let oneDead = sender.answering { usual, _, receiver in
            receiver.name == "oncall" ? .tryAgain(.timeout, reason: "no answer within 15 s", after: nil) : usual
        }
        try await running(line([oncall, second], sender: oneDead)) { line in
            line.pool(1.5, time: time)
            line.pool(0.1, time: time)
            try await untilAttempts(2, to: "second")
            // The two do not wait for each other, and nor may this look.
            try await untilAttempts(1, to: "oncall")
            try await untilQueued(2, for: "oncall", line)
            try await untilQueued(0, for: "second", line)
        }
        #expect(sender.attempts(to: "second") == ["pool-saturation firing", "pool-saturation resolved"])
        #expect(sender.attempts() == ["pool-saturation firing"])
    }

    @Test func `disables a receiver that is gone until it is configured anew`() async throws {
        sender.answer(.gone(reason: "HTTP 410"))
        try await running(line()) { line in
            line.pool(1.5, time: time)
            try await until("it is disabled") { line.dispatcher.snapshot().receivers[0].isDisabled }
            redisFails(line)
            try await untilOpen(2, line)
            try await untilQueued(2, line)
            #expect(sender.attempts().count == 1)
            line.dispatcher.replace(receivers: [oncall])
            try await untilAttempts(3)
        }
        #expect(sender.attempts() == ["pool-saturation firing", "pool-saturation firing", "redis-down firing"])
    }

    @Test func `a 410 for what was sent before a reload does not disable what the reload brought`() async throws {
        let door = Doorbell()
        let held = sender.answering { [sender] usual, _, _ in
            guard sender.attempts().count == 1 else { return usual }
            await door.wait()
            return .gone(reason: "HTTP 410")
        }
        try await running(line(sender: held)) { line in
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            // The same address, with a new key.
            line.dispatcher.replace(receivers: [try Receiver(name: "oncall", url: "https://example.org/canary", secrets: [Secret("another-key")])])
            door.ring()
            try await untilAttempts(2)
            try await untilQueued(0, line)
            #expect(line.dispatcher.snapshot().receivers.map(\.isDisabled) == [false])
        }
        #expect(!lines.all.contains { $0.contains("is disabled until a reload") })
    }

    @Test func `after a reload keeps queues, starts new ones with what is open, and gives up those of receivers that went`() async throws {
        sender.answer(then: awayAnswer())
        let second = try Self.second()
        try await running(line()) { line in
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            sender.answer()
            line.dispatcher.replace(receivers: [second])
            try await until("what waited is given up") { lines.all.contains { $0.contains("no longer configured") } }
            try await untilAttempts(1, to: "second")
            redisFails(line)
            try await untilAttempts(2, to: "second")
            line.pool(0.1, time: time)
            try await untilAttempts(3, to: "second")
            line.redis(nil, time: time)
            time.advance(by: .seconds(1))
            line.redis(nil, time: time)
            try await untilAttempts(4, to: "second")
        }
        #expect(
            sender.attempts(to: "second") == [
                "pool-saturation firing", "redis-down firing", "pool-saturation resolved", "redis-down resolved",
            ])
    }

    @Test func `closes alerts of rules that are no longer configured`() async throws {
        try await running(line()) { line in
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            try await untilQueued(0, line)
        }
        try await running(line(rules: [.answers("redis")])) { line in
            try await untilAttempts(2)
            try await untilOpen(0, line)
        }
        #expect(sender.attempts().last == "pool-saturation rule-removed")
    }

    @Test func `holds what flaps, and tells the final state`() async throws {
        try await running(line()) { line in
            for _ in 0..<4 {
                line.pool(1.5, time: time)
                line.pool(0.1, time: time)
            }
            try await until("it is held") {
                line.dispatcher.snapshot().open.first?.phase == .held && line.dispatcher.snapshot().suppressed[.flapping] == 3
            }
            let open = try #require(line.dispatcher.snapshot().open.first)
            #expect(open.heldUntil == time.wallNow() + .seconds(120))
            try await time.untilAsleep()
            time.advance(by: .seconds(120))
            try await untilAttempts(6)
        }
        #expect(
            sender.attempts().map { $0.split(separator: " ")[1] } == ["firing", "resolved", "firing", "resolved", "flapping", "resolved"])
    }

    @Test func `gives up a day after the end, the whole episode`() async throws {
        sender.answer(then: awayAnswer())
        try await running(line()) { line in
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            line.pool(0.1, time: time)
            try await untilQueued(2, line)
            try await letPass(.seconds(86_000))
            #expect(line.dispatcher.snapshot().receivers[0].deadLetters == 0)
            try await letPass(.seconds(1_200))
            try await untilGivenUp(2, line)
        }
        #expect(try await scratch.outbox().deadLetters().map(\.reason) == ["not delivered within 1 d", "not delivered within 1 d"])
        #expect(lines.all.count { $0.hasPrefix("error alert given up") } == 2)
    }

    @Test func `never lets a secret into logs, errors or the store`() async throws {
        sender.answer(awayAnswer(), .refused(reason: "HTTP 400"), .gone(reason: "HTTP 410"))
        try await running(line()) { line in
            line.pool(1.5, time: time)
            try await passing("it is disabled") { line.dispatcher.snapshot().receivers[0].isDisabled }
            line.dispatcher.replace(receivers: [])
            try await until("it is given up") { lines.all.contains { $0.contains("given up") } }
        }
        let rows = try await scratch.outbox().store.read { database in
            try Row.fetchAll(database, sql: "SELECT d.*, n.notice AS body FROM alert_deliveries d JOIN alert_notices n ON n.sequence = d.notice").map { "\($0)" }
        }
        #expect(!rows.isEmpty && !rows.joined().contains("canary"))
        #expect(!lines.all.contains { $0.contains("canary") })
        #expect(lines.all.contains { $0.contains("example.org") })
    }

    @Test func `bounds what waits for one alert by whole episodes`() async throws {
        let outbox = try scratch.outbox()
        let dropped = try await outbox.swing(40, from: time.wallNow())
        // The 17th and the 29th are one too many: each time all goes that was over, but for the first and the latest episode.
        #expect(outbox.policy.depth == 16)
        #expect(dropped == 24)
        var left: [String] = []
        while let id = try await outbox.acceptFirst(for: named("oncall"), at: time.wallNow()) { left.append(id) }
        #expect(left == ["n0", "n1"] + (26..<40).map { "n\($0)" })
    }

    @Test func `drops no all-clear of a firing that was delivered`() async throws {
        let outbox = try scratch.outbox()
        _ = try await outbox.swing(20, from: time.wallNow()) { number, wall in
            // The receiver hears of the first firing, and then of nothing more.
            if number == 0 { try await outbox.acceptFirst(for: named("oncall"), at: wall) }
        }
        let queue = try await outbox.queue(of: named("oncall"))
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

    @Test func `tells whoever is a receiver when the notice is stored: a reload that comes first is not passed over`() async throws {
        let outbox = try scratch.outbox()
        let door = DispatchSemaphore(value: 0)
        let reloads = Counter()
        try await withThrowingTaskGroup(of: Void.self) { group in
            // The store does one thing after the other: this one is first, and takes its time.
            let entered = Counter()
            group.addTask {
                try await outbox.store.read { _ in
                    entered.add()
                    door.wait()
                }
            }
            try await until("the store is busy") { entered.value == 1 }
            let record = AlertRecord.sample(since: time.wallNow())
            let notice = record.notice(id: "n", why: .firing, at: time.wallNow())
            let asked = Counter()
            group.addTask {
                asked.add()
                _ = try await outbox.commit(record, notice: notice) { [named(reloads.value == 0 ? "old" : "new")] }
            }
            try await until("it is to be stored") { asked.value == 1 }
            reloads.add()
            door.signal()
            try await group.waitForAll()
        }
        #expect(try await outbox.queue(of: named("new")).heads.count == 1)
        #expect(try await outbox.queue(of: named("old")).heads.isEmpty)
    }
}
