import TestServers
import Testing
import Vitals

@testable import AppCore

/// The pool while its server is frozen, stopped, or too far away.
@Suite("Pool faults")
struct PoolFaultTests {
    @Test func `P1: a frozen server holds nobody beyond the deadline, and the pool is whole within a second of its return`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 10, min: 10, deadline: .seconds(2)), server.endpoint) { database in
            try await database.untilIdle(10)
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
            #expect(times.max() ?? .zero < .milliseconds(2_100))
            server.thaw()
            #expect(try await timed { try await database.untilIdle(10) } < .seconds(1))
        }
    }

    @Test func `P3: a database that is down is told at once, to those who queue as well, and its return is noticed within 100 ms`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(20)), server.endpoint) { database in
            _ = try await database.query("SELECT 1", for: "before")
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
                // It would have waited 20 s.
                #expect(queued.snapshot().count == 1 && queued.snapshot().sum < 5)
            }
            for _ in 0..<20 {
                let took = await timed {
                    do {
                        _ = try await database.query("SELECT 1", for: "during")
                        Issue.record("a stopped server answered")
                    } catch {
                        if case PoolError.databaseUnavailable = error {} else { Issue.record("told: \(error)") }
                    }
                }
                #expect(took < .milliseconds(50))
                #expect(database.pool.statistics().connecting <= 1)
            }
            // As an application does: it asks again and again.
            let stop = Counter()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    try await until("the test has seen enough") {
                        _ = try? await database.query("SELECT 1", for: "again")
                        return stop.value > 0
                    }
                }
                try await server.startAgain()
                let took = try await timed { try await until("the return is noticed") { database.pool.statistics().unavailable == nil } }
                stop.add()
                #expect(took < .milliseconds(100))
                try await group.waitForAll()
            }
            _ = try await database.query("SELECT 1", for: "after")
        }
    }

    @Test func `P4: a busy pool is not a dead database, and says who holds it`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(5)), server.endpoint) { database in
            try await database.untilIdle(1)
            // The pool has learned how long leases take.
            for _ in 0..<10 { _ = try await database.query("SELECT pg_sleep(0.05)", for: "usual") }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { _ = try await database.query("SELECT pg_sleep(0.5)", for: "holder") }
                try await database.untilLeased(1)
                var refusal: PoolError?
                let took = await timed {
                    do {
                        _ = try await database.query("SELECT 1", for: "hurried", within: .milliseconds(30))
                    } catch {
                        refusal = error as? PoolError
                    }
                }
                guard case .saturated(let picture, _, let retryAfter, .tooLate) = refusal else {
                    Issue.record("told: \(String(describing: refusal))")
                    return
                }
                #expect(took < .milliseconds(5))
                #expect(picture.leased == 1 && picture.oldestPurpose == "holder" && picture.oldestLease ?? .zero > .zero)
                #expect(retryAfter > .milliseconds(30))
                try await group.waitForAll()
            }
        }
    }
}
