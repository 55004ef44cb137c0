import FoundationEssentials
import Synchronization
import TestServers
import Testing
import Vitals

@testable import AppCore

/// The pool while its server is frozen, stopped, or too far away.
@Suite("Pool faults")
struct PoolFaultTests {
    @Test func `P1: a statement has its deadline though the timer was set for an earlier one that was answered`() async throws {
        let server = try await TestPostgres.start()
        // The timer of the connect would come too late to help.
        try await withPool(PoolConfiguration(max: 1, connectTimeout: .seconds(120)), server.endpoint) { database in
            try await database.withConnection(for: "quick", within: .milliseconds(200)) { _ = try await $0.query("SELECT 1") }
            server.freeze()
            defer { server.thaw() }
            let told = Counter()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    await #expect(throws: PostgresError.self) {
                        try await database.withConnection(for: "slow", within: .milliseconds(600)) { _ = try await $0.query("SELECT 1") }
                    }
                    told.add()
                }
                try await until("it is told") { told.value == 1 }
                try await group.waitForAll()
            }
        }
    }

    @Test func `P1: a frozen server holds nobody beyond the deadline, and the pool is whole within a second of its return`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 10, min: 10, deadline: .seconds(2)), server.endpoint) { database in
            var whole = Duration.seconds(3_600)
            try await database.untilIdle(10)
            let overrun = try await judged(below: .milliseconds(100)) {
                server.freeze()
                let times = await withTaskGroup(of: Duration.self) { group in
                    for _ in 0..<20 {
                        group.addTask {
                            await timed {
                                do {
                                    _ = try await database.query("SELECT 1", for: "frozen")
                                    Issue.record("a frozen server answered")
                                } catch {}
                            }
                        }
                    }
                    return await group.reduce(into: [Duration]()) { $0.append($1) }
                }
                #expect(times.count == 20)
                server.thaw()
                whole = min(whole, try await timed { try await database.untilIdle(10) })
                return times.quantile(1) - .seconds(2)
            }
            #expect(overrun.holds, "\(overrun)")
            #expect(whole < promise(.seconds(1), "P1: after SIGCONT the pool is back at its full size"))
        }
    }

    @Test func `P3: a database that is down is told at once, to those who queue as well, and its return is noticed within 100 ms`() async throws {
        let server = try await TestPostgres.start()
        let deadline = Duration.seconds(20)
        try await withPool(PoolConfiguration(max: 1, deadline: deadline), server.endpoint) { database in
            // On a busy machine its first answer may take so long that it counts as down.
            try await until("the server answers") { (try? await database.query("SELECT 1", for: "before")) != nil }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { _ = try? await database.query("SELECT pg_sleep(20)", for: "holder") }
                try await database.untilLeased(1)
                let queued = Histogram()
                group.addTask {
                    let took = await timed {
                        do {
                            _ = try await database.query("SELECT 1", for: "queued")
                            Issue.record("a stopped server answered")
                        } catch {
                            if case PoolError.databaseUnavailable = error {} else { Issue.record("told: \(error)") }
                        }
                    }
                    queued.record(took)
                }
                try await database.untilWaiting(1)
                try await server.stop()
                try await group.waitForAll()
                let (count, sum) = (queued.snapshot().count, queued.snapshot().sum)
                #expect(count == 1 && .seconds(sum) * 2 < deadline, "told after \(sum) s, as if at its deadline")
            }
            let told = try await judged(below: .milliseconds(50)) {
                let longest = Longest()
                for _ in 0..<20 {
                    longest.note(
                        await timed {
                            do {
                                _ = try await database.query("SELECT 1", for: "during")
                                Issue.record("a stopped server answered")
                            } catch {
                                if case PoolError.databaseUnavailable = error {} else { Issue.record("told: \(error)") }
                            }
                        })
                    #expect(database.pool.statistics().connecting <= 1)
                }
                return longest.duration
            }
            #expect(told.holds, "\(told)")
            // The application asks again and again; the server itself says when it was up.
            var isUp = false
            let delay = try await judged(below: .milliseconds(100)) {
                if isUp {
                    try await server.stop()
                    try await database.untilUnavailable()
                }
                isUp = true
                async let served = firstSuccess("a caller is served") { _ = try await database.query("SELECT 1", for: "again") }
                try await server.startAgain()
                return try await served.sinceTheMinute(of: server.acceptedConnections())
            }
            print("P3: served after the server was up: \(delay)")
            #expect(delay.holds, "\(delay)")
        }
    }

    /// When it first came to an end without an error, asked again and again.
    private func firstSuccess(_ what: String, _ attempt: @Sendable () async throws -> Void) async throws -> WallTime {
        try await until(what) { (try? await attempt()) != nil }
        return SystemTime().wallNow()
    }

    @Test func `a connection that breaks in the instant before it is lent costs no caller an error`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 2, min: 2), server.endpoint) { database in
            try await database.untilIdle(2)
            // Broken, and the pool has not been told: as in the moment between the two.
            database.pool.guarded.withLock { guarded in guarded.state.idle.last.flatMap { guarded.connections[$0] } }?.close()
            #expect(try await database.query("SELECT 1 AS one", for: "test").first?.int("one") == 1)
            let statistics = database.pool.statistics()
            #expect(statistics.closed[.error] == 1 && statistics.use.count == 1)
        }
    }

    @Test func `P4: who waits behind a frozen server is told at its own deadline that the pool is busy, not that the database is down`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 2, min: 2, deadline: .seconds(5), reserved: 0), server.endpoint) { database in
            let overrun = try await judged(below: .milliseconds(100)) {
                try await database.untilIdle(2)
                server.freeze()
                defer { server.thaw() }
                return try await Self.overrun(of: database)
            }
            #expect(overrun.holds, "\(overrun)")
        }
    }

    /// Two hold the connections of a frozen server and five wait for one; answers how long after its deadline the last of them was told.
    private static func overrun(of database: Database) async throws -> Duration {
        let longest = Longest()
        try await withThrowingTaskGroup(of: Void.self) { group in
            func ask(_ purpose: Purpose, within budget: Duration, _ expect: @escaping @Sendable (any Error) -> Void) {
                group.addTask {
                    let took = await timed {
                        do {
                            try await database.withConnection(for: purpose, within: budget) { _ = try await $0.query("SELECT 1") }
                            Issue.record("a frozen server answered")
                        } catch {
                            expect(error)
                        }
                    }
                    #expect(took >= budget)
                    longest.note(took - budget)
                }
            }
            for _ in 0..<2 {
                ask("holds", within: .milliseconds(800)) { error in
                    if case PostgresError.deadlineExceeded = error {} else { Issue.record("who holds is told: \(error)") }
                }
            }
            try await database.untilLeased(2)
            for budget in [100, 200, 300, 400, 500].map(Duration.milliseconds) {
                ask("waits", within: budget) { error in
                    guard case PoolError.saturated(let picture, let waited, _, .expired) = error else {
                        Issue.record("who waits is told: \(error)")
                        return
                    }
                    #expect(picture.leased == 2 && waited >= budget)
                }
            }
            try await group.waitForAll()
        }
        return longest.duration
    }

    @Test func `P4: a busy pool is not a dead database, and says who holds it`() async throws {
        let server = try await TestPostgres.start()
        let hurry = Duration.milliseconds(30)
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(5)), server.endpoint) { database in
            try await database.untilIdle(1)
            // The pool has learned how long leases take.
            for _ in 0..<10 { _ = try await database.query("SELECT pg_sleep(0.05)", for: "usual") }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { _ = try await database.query("SELECT pg_sleep(2)", for: "holder") }
                try await database.untilLeased(1)
                let told = try await judged(below: .milliseconds(5)) {
                    var refusal: PoolError?
                    let took = await timed {
                        do {
                            _ = try await database.query("SELECT 1", for: "hurried", within: hurry)
                        } catch {
                            refusal = error as? PoolError
                        }
                    }
                    guard case .saturated(let picture, _, let retryAfter, .tooLate) = refusal else {
                        Issue.record("told: \(String(describing: refusal))")
                        return took
                    }
                    #expect(picture.leased == 1 && picture.oldestPurpose == "holder" && picture.oldestLease ?? .zero > .zero)
                    #expect(retryAfter > hurry)
                    return took
                }
                #expect(told.holds, "\(told)")
                try await group.waitForAll()
            }
        }
    }
}

extension TestPostgres {
    /// When its log last says that it accepts connections, as seconds of a minute.
    fileprivate func acceptedConnections() throws -> Double {
        let log = try String(contentsOfFile: "\(socketDirectory)/postgres.log", encoding: .utf8)
        let line: Substring = try #require(log.split(separator: "\n").last { $0.contains("database system is ready to accept connections") }, "\(log.suffix(500))")
        let seconds = try #require(line.firstMatch(of: /:([0-9]{2}\.[0-9]{3})\b/), "\(line)").output.1
        return try #require(Double(seconds))
    }
}

extension WallTime {
    /// After that second of a minute, whichever minute and time zone it was told in.
    fileprivate func sinceTheMinute(of second: Double) -> Duration {
        let own = Double(microsecondsSince1970 % 60_000_000) / 1_000_000
        // The log is exact to a millisecond.
        return .seconds((own - second + 120.001).truncatingRemainder(dividingBy: 60) - 0.001)
    }
}
