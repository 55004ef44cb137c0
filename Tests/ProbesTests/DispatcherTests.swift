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

    @Test func `a reload to another address during an attempt loses nothing: what may arrive twice has one id`() async throws {
        let door = Doorbell()
        let held = sender.answering { [sender] usual, _, _ in
            if sender.attempts().count == 1 { await door.wait() }
            return usual
        }
        try await running(line(sender: held)) { line in
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            line.dispatcher.replace(receivers: [try Self.receiver(at: "https://example.com/elsewhere")])
            try await untilAttempts(2)
            door.ring()
            line.pool(0.1, time: time)
            try await untilAttempts(3)
            try await untilQueued(0, line)
        }
        #expect(sender.attempts() == ["pool-saturation firing", "pool-saturation firing", "pool-saturation resolved"])
        #expect(sender.ids()[0] == sender.ids()[1])
        #expect(!lines.all.contains { $0.contains("dead letter") || $0.contains("not told") })
    }

    @Test func `after a reload keeps queues, starts new ones with what is open, and makes dead letters for receivers that went`() async throws {
        sender.answer(then: awayAnswer())
        let second = try Self.second()
        try await running(line()) { line in
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            sender.answer()
            line.dispatcher.replace(receivers: [second])
            try await until("what waited is a dead letter") { lines.all.contains { $0.contains("no longer configured") } }
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

    @Test func `a day after the end the whole episode becomes dead letters`() async throws {
        sender.answer(then: awayAnswer())
        try await running(line()) { line in
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            line.pool(0.1, time: time)
            try await untilQueued(2, line)
            try await letPass(.seconds(86_000))
            #expect(line.dispatcher.snapshot().receivers[0].deadLetters == 0)
            try await letPass(.seconds(1_200))
            try await untilDeadLetters(2, line)
        }
        #expect(try await scratch.outbox().deadLetters().map(\.reason) == ["not delivered within 1 d", "not delivered within 1 d"])
        #expect(lines.all.count { $0.hasPrefix("error notice became a dead letter") } == 2)
    }

    @Test func `never lets a secret into logs, errors or the store`() async throws {
        sender.answer(awayAnswer(), .refused(reason: "HTTP 400"), .gone(reason: "HTTP 410"))
        try await running(line()) { line in
            line.pool(1.5, time: time)
            try await passing("it is disabled") { line.dispatcher.snapshot().receivers[0].isDisabled }
            line.dispatcher.replace(receivers: [])
            try await until("it is a dead letter") { lines.all.contains { $0.contains("became dead letters") } }
        }
        let rows = try await scratch.outbox().store.read { database in
            try Row.fetchAll(database, sql: "SELECT d.*, n.notice AS body FROM alert_deliveries d JOIN alert_notices n ON n.sequence = d.notice").map { "\($0)" }
        }
        #expect(!rows.isEmpty && !rows.joined().contains("canary"))
        #expect(!lines.all.contains { $0.contains("canary") })
        #expect(lines.all.contains { $0.contains("example.org") })
    }

    @Test func `an alert that fires anew after a restart under another name carries the new one, and its end the old one`() async throws {
        try await running(line()) { line in
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            try await untilQueued(0, line)
        }
        try await running(line(instance: "web-2:9798")) { line in
            try await untilOpen(1, line)
            line.pool(0.1, time: time)
            try await untilAttempts(2)
            line.pool(1.5, time: time)
            try await untilAttempts(3)
        }
        let alerts = sender.bodies().map { $0.alerts[0] }
        #expect(alerts.map(\.status) == ["firing", "resolved", "firing"])
        #expect(alerts.map { $0.labels["instance"] } == ["web-1:9798", "web-1:9798", "web-2:9798"])
        #expect(alerts[0].fingerprint == alerts[1].fingerprint && alerts[2].fingerprint != alerts[1].fingerprint)
    }

    @Test func `a crowd of changes of one rule takes no other's place`() async throws {
        let line = try self.line()
        // As while the store stands still: nobody takes anything out yet.
        line.pool(1.5, time: time)
        redisFails(line)
        for _ in 0..<AlertBook.inboxLimit {
            line.pool(0.1, time: time)
            line.pool(1.5, time: time)
        }
        #expect((line.dispatcher.snapshot().suppressed[.tooMany] ?? 0) > AlertBook.inboxLimit / 2)
        try await running(line) { line in
            // The latest of each counts.
            try await untilOpen(2, line)
            try await until("redis is told") { sender.attempts().contains("redis-down firing") }
        }
    }

    @Test func `open alerts are listed from the oldest on`() async throws {
        try await running(line()) { line in
            redisFails(line)
            try await untilOpen(1, line)
            time.advance(by: .seconds(5))
            line.pool(1.5, time: time)
            try await untilOpen(2, line)
            #expect(line.dispatcher.snapshot().open.map(\.rule) == ["redis-down", "pool-saturation"])
        }
    }

    @Test func `a reload changes where alerts link to, for the receivers that there are and for those that come`() async throws {
        try await running(line()) { line in
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            line.dispatcher.replace(externalURL: "https://health.example.org/")
            line.dispatcher.replace(receivers: [oncall, try Self.second()])
            try await untilAttempts(1, to: "second")
            redisFails(line)
            try await untilAttempts(2)
        }
        #expect(sender.bodies().map(\.externalURL) == ["http://web-1:9798", "https://health.example.org/"])
        #expect(sender.bodies(to: "second").first?.externalURL == "https://health.example.org/")
    }
}
