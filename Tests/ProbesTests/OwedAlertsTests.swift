import GRDB
import TestServers
import Testing
import Vitals

@testable import Probes

/// Who is told what, and until when, over the whole line: receivers that refuse, go away, are renamed; clocks that jump; a long time.
@Suite struct `What receivers are owed`: AlertPlay {
    let stage: AlertStage

    init() throws { stage = try AlertStage() }

    private func told(_ line: AlertLine) -> [String]? { line.dispatcher.snapshot().open.first?.told }

    // MARK: Refused

    @Test func `A2: a firing that was refused is offered again until it is taken, and nobody is said to know before`() async throws {
        sender.answer(then: .refused(reason: "HTTP 404 Not Found"))
        try await running(line()) { line in
            line.pool(1.5, time: time)
            try await passing("five attempts", step: .seconds(5)) { sender.attempts().count >= 5 }
            #expect(told(line) == [])
            // Longer than anything that is over would be owed.
            try await letPass(.seconds(2 * 86_400))
            #expect(line.dispatcher.snapshot().receivers[0].deadLetters == 0)
            let before = sender.attempts().count
            try await passing("it is offered again", step: .seconds(20)) { sender.attempts().count > before }
            sender.answer()
            try await passing("it is told", step: .seconds(5)) { told(line) == ["oncall"] }
            line.pool(0.1, time: time)
            try await passing("the all-clear", step: .seconds(5)) { sender.attempts().contains("pool-saturation resolved") }
            try await untilQueued(0, line)
        }
        #expect(sender.attempts().dropLast().allSatisfy { $0 == "pool-saturation firing" })
        #expect(sender.attempts().last == "pool-saturation resolved")
        #expect(Set(sender.ids().dropLast()).count == 1)
        #expect(lines.all.count { $0.hasPrefix("error notice not delivered") } == 1, "said once, at the level of who has to act")
    }

    @Test func `A2: what was refused and ended meanwhile is told all the same, both of it`() async throws {
        sender.answer(then: .refused(reason: "HTTP 302, a redirection, which is not followed"))
        try await running(line()) { line in
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            line.pool(0.1, time: time)
            try await untilQueued(2, line)
            sender.answer()
            try await passing("both", step: .seconds(1)) { sender.attempts().last == "pool-saturation resolved" }
        }
    }

    @Test func `A2: it is offered again at once when the receiver takes something else`() async throws {
        // Refuses whatever is about the pool, for now.
        let picky = sender.answering { [sender] usual, _, _ in
            sender.attempts().last == "pool-saturation firing" && sender.attempts().count < 8 ? .refused(reason: "HTTP 400") : usual
        }
        try await running(line(sender: picky)) { line in
            line.pool(1.5, time: time)
            try await passing("seven refusals", step: .seconds(5)) { sender.attempts().count == 7 }
            #expect(told(line) == [])
            // No time passes from here on.
            redisFails(line)
            try await untilAttempts(9)
            try await until("the pool's is told as well") { line.dispatcher.snapshot().open.allSatisfy { $0.told == ["oncall"] } }
        }
        #expect(sender.attempts().suffix(2) == ["redis-down firing", "pool-saturation firing"])
    }

    @Test func `A2: a notice that its receiver will never take keeps no later one waiting`() async throws {
        let poisoned = sender.answering { [sender] usual, id, _ in sender.ids().first == id ? .refused(reason: "HTTP 413") : usual }
        try await running(line(sender: poisoned)) { line in
            line.pool(0.85, time: time)
            try await untilAttempts(1)
            try await untilOpen(1, line)
            time.advance(by: .seconds(5))
            line.pool(1.5, time: time)
            try await passing("the next one") { sender.attempts().last == "pool-saturation escalated" }
            line.pool(0.1, time: time)
            try await passing("the all-clear") { sender.attempts().last == "pool-saturation resolved" }
            try await untilQueued(0, line)
        }
        #expect(sender.attempts().suffix(2) == ["pool-saturation escalated", "pool-saturation resolved"])
    }

    // MARK: A long time

    @Test func `A3: an alert of eight days whose receiver is down when it ends is told its end after the next start`() async throws {
        try await running(line()) { line in
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            try await untilQueued(0, line)
            try await letPass(.seconds(8 * 86_400), step: .seconds(3_600))
            sender.answer(then: awayAnswer())
            line.pool(0.1, time: time)
            try await untilAttempts(2)
            try await untilQueued(1, line)
        }
        sender.answer()
        try await running(line()) { line in
            try await passing("the all-clear") { sender.attempts().count >= 3 }
            try await untilQueued(0, line)
        }
        #expect(sender.attempts().last == "pool-saturation resolved")
    }

    @Test func `A3: what is over and told is forgotten while it runs, what is open or waits is not`() async throws {
        let outbox = try scratch.outbox(time: time)
        try await running(line(outbox: outbox)) { line in
            line.pool(1.5, time: time)
            line.pool(0.1, time: time)
            try await untilAttempts(2)
            try await untilQueued(0, line)
            #expect(try await outbox.recentNotices().count == 2)
            redisFails(line)
            try await untilAttempts(3)
            try await letPass(.seconds(8 * 86_400), step: .seconds(3_600))
            try await until("it is forgotten") { try await outbox.recentNotices().count == 1 }
        }
        #expect(try await outbox.number("SELECT count(*) FROM alert_deliveries WHERE state = 'delivered'") == 1)
    }

    @Test func `A1: an alert that gets worse and better for months keeps a bounded number of rows`() async throws {
        let outbox = try scratch.outbox(time: time)
        let record = AlertRecord.sample(since: time.wallNow())
        for step in 0..<150 {
            let wall = time.wallNow() + .seconds(step * 86_400)
            // One receiver takes all, one took the first, and one never took anything.
            try await outbox.commit(record, notice: record.notice(id: "n\(step)", why: step == 0 ? .firing : .escalated, at: wall), to: ["all", "first", "none"].map(named))
            for recipient in (step == 0 ? ["all", "first"] : ["all"]).map(named) {
                _ = try await outbox.acceptFirst(for: recipient, at: wall)
            }
            if step % 20 == 0 { try await outbox.prune(at: wall) }
        }
        #expect(try await outbox.recentNotices().count < 60)
        for recipient in ["all", "first"].map(named) { #expect(try await outbox.waiting(for: recipient).told == [record.episode]) }
        let queue = try await outbox.waiting(for: named("none"))
        #expect(queue.waiting.last?.id == "n149" && queue.waiting.count <= 16)
    }

    // MARK: Clocks

    @Test func `A5: a wall clock that jumps ahead by days lets nothing expire while it runs`() async throws {
        sender.answer(then: awayAnswer())
        try await running(line()) { line in
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            line.pool(0.1, time: time)
            try await untilQueued(2, line)
            time.jumpWall(by: .seconds(20_000 * 86_400))
            redisFails(line)
            try await passing("more attempts") { sender.attempts().count >= 6 }
            let status = try #require(line.dispatcher.snapshot().receivers.first)
            #expect(status.deadLetters == 0 && status.queued == 3)
            #expect(status.oldest.map { $0 < .seconds(86_400) } == true)
            sender.answer()
            try await passing("all of it", step: .seconds(1)) { sender.attempts().contains("pool-saturation resolved") }
            try await untilQueued(0, line)
        }
        #expect(lines.all.contains { $0.contains("dead letter") } == false)
    }

    @Test func `A5: after a start nothing expires without an attempt, nor within an hour`() async throws {
        sender.answer(then: awayAnswer())
        try await running(line()) { line in
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            line.pool(0.1, time: time)
            try await untilQueued(2, line)
        }
        time.jumpWall(by: .seconds(3 * 86_400))
        let before = sender.attempts().count
        try await running(line()) { line in
            try await passing("it is tried") { sender.attempts().count > before + 2 }
            try await letPass(.seconds(3_000), step: .seconds(60))
            #expect(line.dispatcher.snapshot().receivers[0].deadLetters == 0)
            try await letPass(.seconds(700), step: .seconds(60))
            try await untilDeadLetters(2, line)
        }
    }

    // MARK: Receivers that change

    @Test func `A13: a receiver with another name is told the end of what it was told`() async throws {
        try await running(line()) { line in
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            try await untilQueued(0, line)
            line.dispatcher.replace(receivers: [try Self.receiver("pager")])
            line.pool(0.1, time: time)
            try await untilAttempts(1, to: "pager")
        }
        #expect(sender.attempts(to: "pager") == ["pool-saturation resolved"])
        #expect(!lines.all.contains { $0.contains("no longer configured") })
    }

    @Test(arguments: [true, false]) func `A13: another address under the same name is told of what is open, and a line says who is not told its end`(
        atAStart: Bool
    ) async throws {
        let moved = try Self.receiver(at: "https://example.com/elsewhere")
        try await running(line()) { line in
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            try await untilQueued(0, line)
            guard !atAStart else { return }
            line.dispatcher.replace(receivers: [moved])
            try await untilAttempts(2)
            line.pool(0.1, time: time)
            try await untilAttempts(3)
        }
        if atAStart {
            try await running(line([moved])) { line in
                try await untilAttempts(2)
                line.pool(0.1, time: time)
                try await untilAttempts(3)
            }
        }
        #expect(sender.attempts().prefix(2) == ["pool-saturation firing", "pool-saturation firing"])
        #expect(sender.bodies().last?.status == "resolved")
        #expect(
            lines.all.count { $0.contains("will not be told of its end") && $0.contains("receiver=oncall") && $0.contains("alert=pool-saturation") } == 1)
    }

    @Test func `A13: what waits goes to the new address of the same name, and a line says what nobody gets`() async throws {
        sender.answer(then: awayAnswer())
        try await running(line()) { line in
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            line.pool(0.1, time: time)
            try await untilQueued(2, line)
            sender.answer()
            let seen = sender.attempts().count
            line.dispatcher.replace(receivers: [try Self.receiver(at: "https://example.com/right")])
            try await untilAttempts(seen + 2)
            try await untilQueued(0, line)
        }
        #expect(sender.attempts().suffix(2) == ["pool-saturation firing", "pool-saturation resolved"])

        // Told of the beginning at one address, and away when it ended: the other is no place for that end.
        try await running(line([try Self.receiver(at: "https://example.com/right")])) { line in
            line.redis(nil, time: time)
            redisFails(line)
            try await passing("the firing") { sender.attempts().last == "redis-down firing" }
            try await untilQueued(0, line)
            sender.answer(then: awayAnswer())
            time.advance(by: .seconds(1))
            line.redis(nil, time: time)
            time.advance(by: .seconds(1))
            line.redis(nil, time: time)
            try await until("it is tried") { sender.attempts().last == "redis-down resolved" }
            sender.answer()
            line.dispatcher.replace(receivers: [oncall])
            try await until("it is said") { lines.all.contains { $0.contains("will not be told of its end") && $0.contains("redis-down") } }
            try await untilQueued(0, line)
        }
    }

    @Test func `A13: one that comes back finds what it is owed`() async throws {
        try await running(line()) { line in
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            try await untilQueued(0, line)
            line.dispatcher.replace(receivers: [])
            try await until("it is said") { lines.all.contains { $0.contains("will not be told of its end") } }
            line.dispatcher.replace(receivers: [oncall])
            line.pool(0.1, time: time)
            try await untilAttempts(2)
        }
        #expect(sender.attempts() == ["pool-saturation firing", "pool-saturation resolved"])
    }

    // MARK: Rows of another version

    @Test func `A6: rows that this version cannot read are left out, told of once, and the rest goes on`() async throws {
        sender.answer(then: awayAnswer())
        try await running(line()) { line in
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            try await untilOpen(1, line)
        }
        try await scratch.outbox().store.write { database in
            try database.execute(
                sql: """
                    INSERT INTO alert_states VALUES ('newer', 'newer@1', '{"rule":"newer","shape":2}');
                    UPDATE alert_notices SET notice = '{"id":"x","why":"of-the-future"}';
                    INSERT INTO alert_notices (id, fingerprint, episode, status, notice, created) VALUES ('n', 'newer', 'newer@1', 'firing', 'no JSON', 1);
                    INSERT INTO alert_notices (id, fingerprint, episode, status, notice, created) VALUES ('m', 'newer', 'newer@1', 'pending', '', 1);
                    """)
        }
        sender.answer()
        let seen = sender.attempts().count
        try await running(line()) { line in
            redisFails(line)
            try await untilAttempts(seen + 1)
            try await untilDeadLetters(2, line)
            line.pool(1.5, time: time)
            line.pool(0.1, time: time)
            try await untilOpen(1, line)
            try await letPass(.seconds(120), step: .seconds(1))
        }
        #expect(sender.attempts().last == "redis-down firing")
        #expect(lines.all.count { $0.hasPrefix("error a stored alert cannot be read") } == 1)
        #expect(lines.all.count { $0.hasPrefix("error notice became a dead letter") } == 2)
        #expect(lines.all.count { $0.contains("outbox cannot be read") } == 0)
        #expect(
            lines.all.filter { $0.contains("not told that an alert is over") }
                == ["warning receiver not told that an alert is over: it is not known to have accepted the firing alert=pool-saturation receiver=oncall"])
        #expect(try await scratch.outbox().number("SELECT count(*) FROM alert_states WHERE fingerprint = 'newer'") == 1, "kept for who wrote it")
    }

    // MARK: The end

    @Test func `A8: what is under way at the end may finish, and is marked`() async throws {
        let door = Doorbell()
        let slow = sender.answering { usual, _, _ in
            await door.wait()
            return Task.isCancelled ? .tryAgain(.timeout, reason: "given up before it was done", after: nil) : usual
        }
        let line = try self.line(sender: slow)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await line.dispatcher.run() }
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            redisFails(line)
            line.dispatcher.stop()
            // What was observed is stored beside what is under way, and by then whoever does not wait for it has given it up.
            try await untilOpen(2, line)
            door.ring()
            try await group.waitForAll()
        }
        #expect(try await scratch.outbox().number("SELECT count(*) FROM alert_deliveries WHERE state = 'delivered'") == 1)
        #expect(try await scratch.outbox().number("SELECT count(*) FROM alert_states") == 2, "all that was observed is stored")
        #expect(sender.attempts() == ["pool-saturation firing"], "what had not begun waits for the next start")
        try await running(self.line()) { line in
            try await untilAttempts(2)
            try await untilQueued(0, line)
        }
        #expect(sender.attempts() == ["pool-saturation firing", "redis-down firing"])
    }

    @Test func `A8: the end does not wait for a receiver that never answers`() async throws {
        let silent = sender.answering { _, _, _ in
            await Doorbell().wait()
            return .tryAgain(.timeout, reason: "given up before it was done", after: nil)
        }
        let line = try self.line(sender: silent)
        let ended = Counter()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                await line.dispatcher.run()
                ended.add()
            }
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            line.dispatcher.stop()
            try await passing("it ends", step: .seconds(1)) { ended.value == 1 }
        }
        #expect(try await scratch.outbox().number("SELECT count(*) FROM alert_deliveries WHERE state = 'queued'") == 1)
    }
}
