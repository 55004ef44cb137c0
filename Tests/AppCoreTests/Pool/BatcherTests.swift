import TestServers
import Testing
import Vitals

@testable import AppCore

/// Single statements of many callers in one round trip, against a real server.
@Suite("Batcher")
struct BatcherTests {
    /// Where callers run: their own threads, or the loop's.
    enum Place: CaseIterable { case threads, loop }

    /// Runs `body` where the callers are to run.
    private func at<Result: Sendable>(
        _ place: Place, _ database: Database, _ body: @Sendable () async throws -> Result
    ) async throws -> Result {
        switch place {
        case .threads: try await body()
        case .loop: try await withTaskExecutorPreference(database.pool.loop) { try await body() }
        }
    }

    /// Runs a statement until its text rides: it has to be seen to be quick, which on a busy machine takes some tries.
    private func acquaint(_ database: Database, _ sql: SQL) async throws {
        let before = database.pool.statistics().batchedStatements
        for _ in 0..<2_000 {
            _ = try await database.query(sql, for: "acquaint")
            if database.pool.statistics().batchedStatements > before { return }
        }
        Issue.record("never rode: \(sql.text)")
    }

    private func number(_ database: Database, _ sql: SQL, within budget: Duration? = nil) async throws -> Int {
        let rows = try await database.query(sql, for: "test", within: budget)
        guard let row = rows.first else { throw TestServerError("no row for \(sql.text)") }
        return try row.int("n")
    }

    private func expect(_ database: Database, _ sql: SQL, _ answer: Int) async throws {
        let found = try await number(database, sql)
        #expect(found == answer)
    }

    @Test(arguments: Place.allCases)
    func `concurrent short reads share round trips, and each gets its own rows`(place: Place) async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 4, deadline: .seconds(10), waiters: 2_000), server.endpoint) { database in
            try await acquaint(database, "SELECT \(1)::int * 2 AS n")
            let before = database.pool.statistics()
            try await at(place, database) {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for caller in 0..<100 {
                        group.addTask {
                            for round in 0..<20 {
                                let value = caller * 100 + round
                                try await expect(database, "SELECT \(value)::int * 2 AS n", value * 2)
                            }
                        }
                    }
                    try await group.waitForAll()
                }
            }
            let after = database.pool.statistics()
            let (batches, statements) = (after.batches - before.batches, after.batchedStatements - before.batchedStatements)
            #expect(statements >= 500, "\(statements) of 2,000 statements rode")
            // On the loop all who were answered in one turn leave together again, in two groups.
            let least = place == .loop ? 20 : 2
            #expect(batches * least <= statements, "\(statements) statements in \(batches) batches")
        }
    }

    @Test(arguments: Place.allCases)
    func `one statement that fails fails alone`(place: Place) async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 4, deadline: .seconds(10)), server.endpoint) { database in
            try await acquaint(database, "SELECT \(1)::int * 2 AS n")
            for round in 0..<5 {
                // A text of its own each time: after it has failed it does not ride for a while.
                try await acquaint(database, "SELECT \(unescaped: "\(round)") + 100 / \(1)::int AS n")
                try await at(place, database) {
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        for caller in 0..<60 {
                            group.addTask {
                                guard caller == 30 else {
                                    try await expect(database, "SELECT \(caller)::int * 2 AS n", caller * 2)
                                    return
                                }
                                do {
                                    _ = try await number(database, "SELECT \(unescaped: "\(round)") + 100 / \(0)::int AS n")
                                    Issue.record("divided by zero")
                                } catch let error as PostgresError {
                                    #expect(error.sqlState == "22012")
                                }
                            }
                        }
                        try await group.waitForAll()
                    }
                }
            }
        }
    }

    @Test(arguments: Place.allCases)
    func `what a statement does takes effect exactly once, whatever becomes of its neighbours`(place: Place) async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 4, deadline: .seconds(10)), server.endpoint) { database in
            try await database.withConnection(for: "setup") { lease in
                try await lease.script(
                    """
                    CREATE TABLE effects (id int);
                    CREATE FUNCTION record_effect(id int) RETURNS int LANGUAGE sql AS 'INSERT INTO effects VALUES (id) RETURNING id'
                    """)
            }
            try await acquaint(database, "SELECT record_effect(\(-1)) AS n")
            try await database.execute("DELETE FROM effects", for: "setup")
            for round in 0..<10 {
                try await acquaint(database, "SELECT \(unescaped: "\(round)") + 100 / \(1)::int AS n")
                try await at(place, database) {
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        for caller in 0..<30 {
                            group.addTask {
                                let id = round * 100 + caller
                                try await expect(database, "SELECT record_effect(\(id)) AS n", id)
                            }
                            guard caller % 10 == 5 else { continue }
                            group.addTask {
                                _ = try? await number(database, "SELECT \(unescaped: "\(round)") + 100 / \(0)::int AS n")
                            }
                        }
                        try await group.waitForAll()
                    }
                }
            }
            try await expect(database, "SELECT count(*) AS n FROM effects", 300)
            try await expect(database, "SELECT count(DISTINCT id) AS n FROM effects", 300)
        }
    }

    @Test(arguments: Place.allCases)
    func `a text that turns slow holds nobody up, and gets its own answer`(place: Place) async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 4, min: 4, deadline: .seconds(20)), server.endpoint) { database in
            try await acquaint(database, "SELECT \(1)::int * 2 AS n")
            var least = Duration.seconds(60)
            // The best of three: what else the machine does must not count.
            for round in 0..<3 where least >= .milliseconds(250) {
                try await acquaint(database, "SELECT count(*) + \(unescaped: "\(round)") AS n FROM generate_series(1, \(10)::int)")
                let longest = Longest()
                try await at(place, database) {
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        for caller in 0..<40 {
                            group.addTask {
                                if caller == 10 {
                                    let sql: SQL =
                                        "SELECT count(*) + \(unescaped: "\(round)") AS n FROM generate_series(1, \(4_000_000)::int)"
                                    try await expect(database, sql, 4_000_000 + round)
                                    return
                                }
                                let began = MonotonicInstant.now()
                                try await expect(database, "SELECT \(caller)::int * 2 AS n", caller * 2)
                                let took = MonotonicInstant.now() - began
                                longest.note(took)
                            }
                        }
                        try await group.waitForAll()
                    }
                }
                least = min(least, longest.duration)
            }
            #expect(least < .milliseconds(250))
        }
    }

    @Test func `clearing a slow batch leaves whoever has its connection next alone`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(20)), server.endpoint) { database in
            try await acquaint(database, "SELECT count(*) AS n FROM generate_series(1, \(10)::int)")
            try await expect(database, "SELECT count(*) AS n FROM generate_series(1, \(1_000_000)::int)", 1_000_000)
            // Longer than the time that the clearing gave itself.
            _ = try await database.query("SELECT pg_sleep(1.3)", for: "next")
            #expect(database.pool.statistics().opened == 1)
        }
    }

    @Test(arguments: Place.allCases)
    func `P1: every rider of a frozen server is answered by its own deadline`(place: Place) async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 2, min: 2, deadline: .seconds(10), waiters: 100), server.endpoint) { database in
            try await acquaint(database, "SELECT \(1)::int * 2 AS n")
            let overrun = try await bestOfThree(below: .milliseconds(100)) {
                try await database.untilIdle(2)
                server.freeze()
                defer { server.thaw() }
                let longest = Longest()
                try await at(place, database) {
                    await withTaskGroup(of: Void.self) { group in
                        for caller in 0..<60 {
                            group.addTask {
                                let budget = Duration.milliseconds(100 + (caller * 37) % 500)
                                let took = await timed {
                                    do {
                                        _ = try await number(database, "SELECT \(caller)::int * 2 AS n", within: budget)
                                        Issue.record("a frozen server answered")
                                    } catch {}
                                }
                                longest.note(took - budget)
                            }
                        }
                    }
                }
                return longest.duration
            }
            #expect(overrun < .milliseconds(100))
            try await expect(database, "SELECT \(21)::int * 2 AS n", 42)
        }
    }

    @Test func `a rider with less time than those before it does not wait as long as they would`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(10)), server.endpoint) { database in
            try await acquaint(database, "SELECT \(1)::int * 2 AS n")
            try await withThrowingTaskGroup(of: Void.self) { group in
                // While the first batch is under way, a long lease queues, and then two riders: the second has less time.
                server.freeze()
                group.addTask { _ = try await number(database, "SELECT \(1)::int * 2 AS n") }
                try await database.untilLeased(1)
                group.addTask { _ = try await database.query("SELECT pg_sleep(1)", for: "long") }
                try await database.untilWaiting(1)
                group.addTask { _ = try await number(database, "SELECT \(2)::int * 2 AS n") }
                group.addTask {
                    let took = await timed {
                        _ = try? await number(database, "SELECT \(3)::int * 2 AS n", within: .milliseconds(300))
                    }
                    #expect(took < .milliseconds(400))
                }
                server.thaw()
                try await group.waitForAll()
            }
        }
    }

    @Test func `those who ask for themselves take no room in the batches to come`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 4, deadline: .seconds(10)), server.endpoint) { database in
            try await acquaint(database, "SELECT \(1)::int * 2 AS n")
            let before = database.pool.statistics().batchedStatements
            try await at(.loop, database) {
                for _ in 0..<(BatchPlan.largest + 100) {
                    // Both in one turn; the second has less time than the first, so it does not wait in the same batch.
                    async let patient = number(database, "SELECT \(1)::int * 2 AS n", within: .seconds(10))
                    async let hasty = number(database, "SELECT \(2)::int * 2 AS n", within: .seconds(5))
                    let answers = try await (patient, hasty)
                    #expect(answers == (2, 4))
                }
            }
            #expect(database.pool.statistics().batchedStatements - before > BatchPlan.largest)
        }
    }

    @Test func `a rider that is cancelled leaves at once`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(20)), server.endpoint) { database in
            try await acquaint(database, "SELECT \(1)::int * 2 AS n")
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { _ = try await database.query("SELECT pg_sleep(1)", for: "holder") }
                try await database.untilLeased(1)
                let took = try await timed {
                    try await withThrowingTaskGroup(of: Void.self) { riders in
                        riders.addTask { _ = try? await number(database, "SELECT \(2)::int * 2 AS n") }
                        try await database.untilWaiting(1)
                        riders.cancelAll()
                    }
                }
                #expect(took < .milliseconds(500))
                try await group.waitForAll()
            }
            try await expect(database, "SELECT \(3)::int * 2 AS n", 6)
        }
    }

    @Test(arguments: Place.allCases)
    func `P13: a plan that a change of the table made stale heals for riders`(place: Place) async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 2, min: 2, deadline: .seconds(10)), server.endpoint) { database in
            try await database.withConnection(for: "setup") {
                try await $0.script("CREATE TABLE heal (n int); INSERT INTO heal SELECT generate_series(0, 99)")
            }
            try await acquaint(database, "SELECT * FROM heal WHERE n = \(1)")
            for round in 0..<5 {
                for _ in 0..<10 { _ = try await number(database, "SELECT * FROM heal WHERE n = \(1)") }
                try await database.withConnection(for: "change") {
                    try await $0.script("ALTER TABLE heal ADD COLUMN extra_\(round) text DEFAULT 'new'")
                }
                try await at(place, database) {
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        for caller in 0..<50 {
                            group.addTask {
                                let rows = try await database.query("SELECT * FROM heal WHERE n = \(caller)", for: "test")
                                let row = try #require(rows.first)
                                #expect(try row.int("n") == caller)
                                #expect(try row.string("extra_\(round)") == "new")
                            }
                        }
                        try await group.waitForAll()
                    }
                }
            }
        }
    }

    @Test func `P13: a stale plan heals for the batch of one lease`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 1), server.endpoint) { database in
            try await database.withConnection(for: "test") { lease in
                try await lease.script("CREATE TABLE heal (n int); INSERT INTO heal SELECT generate_series(0, 99)")
                for round in 0..<5 {
                    for _ in 0..<3 {
                        let answers = try await lease.batch((0..<5).map { "SELECT * FROM heal WHERE n = \($0)" })
                        #expect(try answers.map { try $0.first?.int("n") } == Array(0..<5))
                    }
                    try await lease.script("ALTER TABLE heal ADD COLUMN extra_\(round) text DEFAULT 'new'")
                    let answers = try await lease.batch((0..<5).map { "SELECT * FROM heal WHERE n = \($0)" })
                    #expect(try answers.map { try $0.first?.int("n") } == Array(0..<5))
                    #expect(try answers.last?.first?.string("extra_\(round)") == "new")
                }
            }
        }
    }
}
