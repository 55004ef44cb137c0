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

    /// A hundred callers with a value of their own each; every one has to get its own back.
    private func crowd(_ database: Database, rounds: Int, asked: Counter = Counter()) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for caller in 0..<100 {
                group.addTask {
                    for round in 0..<rounds {
                        let value = caller * 100 + round
                        asked.add()
                        try await expect(database, "SELECT \(value)::int * 2 AS n", value * 2)
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    /// How many batches leave while `body` runs, and how many statements ride in them.
    private func batches(_ database: Database, _ body: () async throws -> Void) async throws -> (count: Int, statements: Int) {
        let before = database.pool.statistics()
        try await body()
        let after = database.pool.statistics()
        return (after.batches - before.batches, after.batchedStatements - before.batchedStatements)
    }

    @Test(arguments: Place.allCases)
    func `concurrent short reads get their own rows, and on the loop those who were answered together leave together`(place: Place) async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 4, deadline: .seconds(60), waiters: 2_000), server.endpoint) { database in
            try await acquaint(database, "SELECT \(1)::int * 2 AS n")
            let ridden = try await batches(database) {
                try await at(place, database) { try await crowd(database, rounds: 20) }
            }
            print("Batcher: \(place): \(ridden.statements) of 2,000 statements in \(ridden.count) batches")
            // Elsewhere it hangs on who gets a core when; the next test tells what does not.
            guard place == .loop else { return }
            #expect(ridden.statements > 0)
            #expect(ridden.count * 5 <= ridden.statements, "\(ridden.statements) statements in \(ridden.count) batches")
        }
    }

    @Test(arguments: Place.allCases)
    func `who comes while a batch waits for a connection rides with it`(place: Place) async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 4, min: 4, deadline: .seconds(60), waiters: 2_000), server.endpoint) { database in
            for round in 0..<10 {
                var ridden = try await crowdThatWaits(database, place)
                // A batch that the machine held up for 25 ms puts its text on probation: nobody rode then, and the round is played again.
                for _ in 0..<5 where ridden.statements <= ridden.count { ridden = try await crowdThatWaits(database, place) }
                // Two go in each lane, and two at most were on their way to the batch when it left.
                print("Batcher: \(place), round \(round): \(ridden.statements) statements in \(ridden.count) batches")
                #expect(ridden.count <= 6 && ridden.statements > ridden.count, "\(ridden.statements) statements in \(ridden.count) batches")
            }
        }
    }

    /// A crowd that comes while all four connections are held.
    private func crowdThatWaits(_ database: Database, _ place: Place) async throws -> (count: Int, statements: Int) {
        try await acquaint(database, "SELECT \(1)::int * 2 AS n")
        return try await batches(database) {
            let (over, end) = AsyncStream.makeStream(of: Void.self)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<4 {
                    group.addTask { try await database.withConnection(for: "hold") { _ in for await _ in over {} } }
                }
                try await database.untilLeased(4)
                let asked = Counter()
                group.addTask { try await at(place, database) { try await crowd(database, rounds: 1, asked: asked) } }
                try await until("all have asked") { asked.value == 100 }
                try await database.untilWaiting(1)
                end.finish()
                try await group.waitForAll()
            }
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
            // Of the time that the slow one took; the best of three.
            var share = 1.0
            for round in 0..<3 where share >= 0.6 {
                try await acquaint(database, "SELECT count(*) + \(unescaped: "\(round)") AS n FROM generate_series(1, \(10)::int)")
                let (slow, longest) = (Longest(), Longest())
                try await at(place, database) {
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        for caller in 0..<40 {
                            group.addTask {
                                if caller == 10 {
                                    let sql: SQL =
                                        "SELECT count(*) + \(unescaped: "\(round)") AS n FROM generate_series(1, \(4_000_000)::int)"
                                    slow.note(try await timed { try await expect(database, sql, 4_000_000 + round) })
                                    return
                                }
                                longest.note(try await timed { try await expect(database, "SELECT \(caller)::int * 2 AS n", caller * 2) })
                            }
                        }
                        try await group.waitForAll()
                    }
                }
                share = min(share, longest.duration / slow.duration)
                print("Batcher: \(place): the others took \(longest.duration.text), the slow one \(slow.duration.text)")
            }
            #expect(share < 0.6)
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
            let overrun = try await judged(below: .milliseconds(100)) {
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
            #expect(overrun.holds, "\(overrun)")
            try await expect(database, "SELECT \(21)::int * 2 AS n", 42)
        }
    }

    @Test func `a rider with less time than those before it does not wait as long as they would`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(10)), server.endpoint) { database in
            try await acquaint(database, "SELECT \(1)::int * 2 AS n")
            let budget = Duration.milliseconds(300)
            let late = try await judged(below: .milliseconds(100), tries: 1) {
                let took = Longest()
                try await withThrowingTaskGroup(of: Void.self) { group in
                    // While the first batch is under way, a long lease queues, and then two riders: the second has less time.
                    server.freeze()
                    group.addTask { _ = try await number(database, "SELECT \(1)::int * 2 AS n") }
                    try await database.untilLeased(1)
                    group.addTask { _ = try await database.query("SELECT pg_sleep(1)", for: "long") }
                    try await database.untilWaiting(1)
                    group.addTask { _ = try await number(database, "SELECT \(2)::int * 2 AS n") }
                    group.addTask {
                        took.note(await timed { _ = try? await number(database, "SELECT \(3)::int * 2 AS n", within: budget) })
                    }
                    server.thaw()
                    try await group.waitForAll()
                }
                return took.duration - budget
            }
            #expect(late.holds, "\(late)")
        }
    }

    @Test func `when the first of a batch runs out of time in the queue, those with time left are served all the same`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(60)), server.endpoint) { database in
            try await acquaint(database, "SELECT \(1)::int * 2 AS n")
            try await withThrowingTaskGroup(of: Void.self) { group in
                let (over, end) = AsyncStream.makeStream(of: Void.self)
                group.addTask { try await database.withConnection(for: "holder") { _ in for await _ in over {} } }
                try await database.untilLeased(1)
                let first = Counter()
                group.addTask {
                    do {
                        _ = try await number(database, "SELECT \(2)::int * 2 AS n", within: .milliseconds(400))
                        Issue.record("there was no connection")
                    } catch PoolError.saturated(_, _, _, .expired) {
                        first.add()
                    }
                }
                try await database.untilWaiting(1)
                for caller in 3..<6 { group.addTask { try await expect(database, "SELECT \(caller)::int * 2 AS n", caller * 2) } }
                do {
                    defer { end.finish() }
                    try await until("the first was told") { first.value == 1 }
                    // The others ask for themselves by then.
                    try await database.untilWaiting(3)
                }
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
                let (over, end) = AsyncStream.makeStream(of: Void.self)
                group.addTask { try await database.withConnection(for: "holder") { _ in for await _ in over {} } }
                try await database.untilLeased(1)
                let told = Counter()
                try await withThrowingTaskGroup(of: Void.self) { riders in
                    riders.addTask {
                        _ = try? await number(database, "SELECT \(2)::int * 2 AS n")
                        told.add()
                    }
                    try await database.untilWaiting(1)
                    riders.cancelAll()
                    // The connection is held until it has left.
                    defer { end.finish() }
                    try await until("the rider has left") { told.value == 1 }
                }
                try await group.waitForAll()
            }
            try await expect(database, "SELECT \(3)::int * 2 AS n", 6)
        }
    }

    @Test(arguments: [false, true])
    func `a rider that is cancelled after its statement was sent is not told that nothing was sent`(isSent: Bool) async throws {
        let seat = Seat()
        let outcome = await withCheckedContinuation { continuation in
            #expect(seat.take(continuation))
            if isSent { #expect(seat.send()) }
            seat.cancel()
            #expect(!seat.send(), "nobody waits for it any more")
        }
        guard case .failure(let error) = outcome else {
            Issue.record("\(outcome)")
            return
        }
        #expect(mayHaveTakenEffect(error) == isSent, "\(error)")
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
