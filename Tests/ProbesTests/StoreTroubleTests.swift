import Dispatch
import FoundationEssentials
import GRDB
import Glibc
import TestServers
import Testing

@testable import Probes
@testable import Vitals

/// Alerts while the disk does not take them.
@Suite struct `Alerts without a disk`: AlertPlay {
    let stage: AlertStage

    init() throws { stage = try AlertStage() }

    @Test func `A7: a file that cannot be had stops neither the start nor the page, and is made up for when it can`() async throws {
        // A folder of that name: nobody can open it as a file, root neither.
        try FileManager.default.createDirectory(atPath: scratch.file, withIntermediateDirectories: false)
        let line = try self.line()
        try await running(line) { line in
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            redisFails(line)
            try await untilAttempts(2)
            try await untilOpen(2, line)
            #expect(line.dispatcher.snapshot().outboxProblem?.contains("healthd.sqlite") == true)
            try FileManager.default.removeItem(atPath: scratch.file)
            try await passing("all is well again", step: .seconds(1)) { line.dispatcher.snapshot().outboxProblem == nil }
        }
        #expect(lines.all.count { $0.hasPrefix("critical the local state cannot be written") } == 1)
        #expect(lines.all.count { $0.hasPrefix("notice the local state is written to disk again") } == 1)
        try await running(self.line()) { line in
            try await untilOpen(2, line)
            line.pool(0.1, time: time)
            try await untilAttempts(3)
        }
        #expect(sender.attempts().last == "pool-saturation recovered-while-down")
    }

    @Test func `A7: what comes to light with a file is delivered, and judged by what has been seen since`() async throws {
        let parts = try await owingWithoutFile()
        try await running(line()) { line in
            // Well for this process all along: nobody is told, and nothing changes any more.
            line.pool(0.1, time: time)
            redisFails(line)
            try await untilAttempts(2)
            try bringBack(parts)
            try await passing("all of it", step: .seconds(1)) { sender.attempts().count >= 4 }
            try await untilQueued(0, line)
            try await untilOpen(1, line)
        }
        #expect(sender.attempts().suffix(2) == ["pool-saturation firing", "pool-saturation recovered-while-down"])
    }

    @Test func `A7: what an earlier process owed is sent when its file comes to light, though nothing else happens`() async throws {
        let parts = try await owingWithoutFile()
        try await running(line()) { line in
            try await until("it runs without its file") { line.dispatcher.snapshot().outboxProblem != nil }
            try bringBack(parts)
            try await passing("it is sent", step: .seconds(1)) { sender.attempts().count == 2 }
            try await untilQueued(0, line)
        }
        #expect(sender.attempts().last == "pool-saturation firing")
    }

    /// A process has ended that could not tell of the pool, and its file is away: what stands in its place is none. The receiver is back.
    ///
    /// - Returns: what the file consists of.
    private func owingWithoutFile() async throws -> [String] {
        sender.answer(then: awayAnswer())
        try await running(line()) { line in
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            try await untilQueued(1, line)
        }
        let parts = ["", "-journal"].filter { FileManager.default.fileExists(atPath: scratch.file + $0) }
        for part in parts { try FileManager.default.moveItem(atPath: scratch.file + part, toPath: scratch.path + "/away" + part) }
        try FileManager.default.createDirectory(atPath: scratch.file, withIntermediateDirectories: false)
        sender.answer()
        return parts
    }

    private func bringBack(_ parts: [String]) throws {
        try FileManager.default.removeItem(atPath: scratch.file)
        for part in parts { try FileManager.default.moveItem(atPath: scratch.path + "/away" + part, toPath: scratch.file + part) }
    }

    @Test(arguments: ["PRAGMA max_page_count = 1", "PRAGMA query_only = 1"])
    func `A7: a disk that fills up, or takes no more writes, while it runs stops no page`(_ fault: String) async throws {
        let outbox = try scratch.outbox(time: time, logger: lines.logger)
        try await running(self.line(outbox: outbox)) { line in
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            try await untilQueued(0, line)
            // A limit of this connection; a new one finds room again.
            let connection = try #require(outbox.store.connection)
            try await connection.write { try $0.execute(sql: fault) }
            try await outbox.store.write { try $0.execute(sql: "CREATE TABLE filler (it); INSERT INTO filler VALUES (zeroblob(100000))") }
            #expect(outbox.store.isInMemory)
            #expect(outbox.store.trouble != nil)
            #expect(lines.all.contains { $0.hasPrefix("critical the local state cannot be written") })
            redisFails(line)
            try await untilAttempts(2)
            line.pool(0.1, time: time)
            try await untilAttempts(3)
            try await passing("all is well again", step: .seconds(1)) { outbox.store.trouble == nil }
            try await untilQueued(0, line)
        }
        let fresh = try scratch.outbox()
        #expect(try await fresh.number("SELECT count(*) FROM alert_deliveries WHERE state = 'delivered'") == 3)
        #expect(Set(sender.ids()).count == sender.ids().count, "nothing twice")
    }

    enum Loss: String, CaseIterable, Sendable {
        case emptied, overwritten, deleted, inTheWay
    }

    @Test(arguments: Loss.allCases)
    func `C: whatever becomes of the file while an alert is open, who waits for its firing gets it, and all who were told are told the end`(
        _ loss: Loss
    ) async throws {
        let outbox = try scratch.outbox(time: time, logger: lines.logger)
        let (isAway, away) = (Counter(), awayAnswer())
        isAway.add()
        let half = sender.answering { usual, _, receiver in receiver.name == "second" && isAway.value > 0 ? away : usual }
        try await running(line([oncall, try Self.second()], sender: half, outbox: outbox)) { line in
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            try await untilQueued(0, for: "oncall", line)
            try await until("the second was tried") { !sender.attempts(to: "second").isEmpty }
            try lose(loss)
            try await passing("it is noticed", step: .seconds(1)) { lines.all.contains { $0.hasPrefix("critical the local state cannot be written") } }
            isAway.add(-1)
            try await passing("both are told", step: .seconds(1)) { line.dispatcher.snapshot().open.first?.told == ["oncall", "second"] }
            line.pool(0.1, time: time)
            try await until("both are told the end") {
                ["oncall", "second"].allSatisfy { sender.attempts(to: $0).last == "pool-saturation resolved" }
            }
            try await untilQueued(0, for: "oncall", line)
            try await untilQueued(0, for: "second", line)
            if loss != .inTheWay { try await passing("all is on disk again", step: .seconds(1)) { !outbox.store.isInMemory } }
        }
        #expect(sender.attempts() == ["pool-saturation firing", "pool-saturation resolved"])
        #expect(Set(sender.ids(to: "second").dropLast()).count == 1)
        #expect(!lines.all.contains { $0.contains("not told") || $0.contains("dead letter") || $0.contains("not sent") })
        guard loss != .inTheWay else { return }
        #expect(try await scratch.outbox().number("SELECT count(*) FROM alert_deliveries WHERE state = 'delivered'") == 4)
    }

    private func lose(_ loss: Loss) throws {
        switch loss {
        case .emptied: truncate(scratch.file, 0)
        case .overwritten: try Data(repeating: 7, count: 20_000).write(to: URL(filePath: scratch.file))
        case .deleted: try FileManager.default.removeItem(atPath: scratch.file)
        case .inTheWay:
            try FileManager.default.removeItem(atPath: scratch.file)
            try FileManager.default.createDirectory(atPath: scratch.file, withIntermediateDirectories: false)
        }
    }

    @Test func `A: a disk that freezes keeps no page and not the end, and the verdict can say so`() async throws {
        let outbox = try scratch.outbox(time: time, logger: lines.logger, patience: .milliseconds(500))
        let thaw = DispatchSemaphore(value: 0)
        defer { thaw.signal() }
        let line = try self.line(outbox: outbox)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await line.dispatcher.run() }
            outbox.store.fileThread.later { thaw.wait() }
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            #expect(outbox.store.trouble?.contains("its disk has not answered for 500 ms or longer") == true)
            #expect(line.dispatcher.snapshot().outboxProblem == outbox.store.trouble)
            redisFails(line)
            try await untilAttempts(2)
            line.dispatcher.stop()
            try await group.waitForAll()
        }
        #expect(sender.attempts() == ["pool-saturation firing", "redis-down firing"])
    }

    @Test func `A7: alerts that are open when another healthd takes the folder are known to the next start, when it is ours again`() async throws {
        let isTaken = Counter()
        let outbox = try scratch.outbox(time: time, logger: lines.logger) {
            if isTaken.value > 0 { throw LocalStore.InUse("another healthd uses the state folder") }
        }
        try await running(line(outbox: outbox)) { line in
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            try await untilQueued(0, line)
            isTaken.add()
            try await passing("it is noticed", step: .seconds(1)) { outbox.store.isInMemory }
            #expect(try await outbox.number("SELECT count(*) FROM alert_notices") == 0, "its own to send")
            try await until("what is open is kept") { try await outbox.number("SELECT count(*) FROM alert_states") == 1 }
        }
    }

    @Test func `A7: what was accepted and cannot be marked is not sent again, and is marked when it can be`() async throws {
        let outbox = try scratch.outbox(time: time, logger: lines.logger)
        let line = AlertLine(outbox: outbox, receivers: [oncall], sender: sender, time: time, logger: lines.logger)
        try await outbox.store.write {
            try $0.execute(
                sql: """
                    CREATE TRIGGER stubborn BEFORE UPDATE ON alert_deliveries WHEN NEW.state = 'delivered'
                    BEGIN SELECT RAISE(ABORT, 'not now'); END
                    """)
        }
        try await running(line) { line in
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            try await passing("it was tried again to mark it", step: .seconds(1)) { lines.all.count { $0.contains("not now") } >= 3 }
            #expect(sender.attempts().count == 1)
            try await outbox.store.write { try $0.execute(sql: "DROP TRIGGER stubborn") }
            try await passing("it is marked", step: .seconds(1)) { line.dispatcher.snapshot().receivers.first?.queued == 0 }
        }
        #expect(sender.attempts().count == 1 && !outbox.store.isInMemory)
        #expect(try await outbox.number("SELECT count(*) FROM alert_deliveries WHERE state = 'delivered'") == 1)
    }

    @Test func `A7: what waits and stands in memory alone when healthd ends is named in the log`() async throws {
        let outbox = try scratch.outbox(time: time, logger: lines.logger)
        let line = try self.line(outbox: outbox)
        sender.answer(then: awayAnswer())
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await line.dispatcher.run() }
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            try lose(.inTheWay)
            redisFails(line)
            try await passing("it is in memory", step: .seconds(1)) { outbox.store.isInMemory }
            try await untilQueued(2, line)
            line.dispatcher.stop()
            try await group.waitForAll()
        }
        #expect(lines.all.count { $0.hasPrefix("error a notice was not sent and its file cannot be used") } == 2)
    }

    @Test func `A7: a file full of nonsense is set aside, and the verdict has time to say so`() async throws {
        try Data("this was a database once".utf8 + Data(repeating: 7, count: 9_000)).write(to: URL(filePath: scratch.file))
        try await running(line()) { line in
            #expect(line.dispatcher.snapshot().outboxProblem?.contains("was set aside as") == true)
            line.pool(1.5, time: time)
            try await untilAttempts(1)
            try await passing("all is well again", step: .seconds(1)) { line.dispatcher.snapshot().outboxProblem == nil }
        }
        let files = try FileManager.default.contentsOfDirectory(atPath: scratch.path)
        #expect(files.contains("healthd.sqlite.damaged-20270115T080000Z"), "\(files)")
        #expect(lines.all.count { $0.contains("was set aside") } == 1)
    }

    @Test func `A7: what is in memory alone is sent before the end, if it can be`() async throws {
        try FileManager.default.createDirectory(atPath: scratch.file, withIntermediateDirectories: false)
        let line = try self.line()
        await withTaskGroup(of: Void.self) { group in
            redisFails(line)
            line.pool(1.5, time: time)
            line.dispatcher.stop()
            group.addTask { await line.dispatcher.run() }
        }
        #expect(Set(sender.attempts()) == ["redis-down firing", "pool-saturation firing"])
    }
}
