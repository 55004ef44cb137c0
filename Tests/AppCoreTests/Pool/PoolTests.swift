import Synchronization
import TestServers
import Testing
import Vitals

@testable import AppCore

/// The pool against a real server.
@Suite("Pool")
struct PoolTests {
    @Test func `answers queries with typed values`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 2), server.endpoint) { database in
            let id = "it's \"quoted\" \\ {x,y}"
            let when = WallTime(microsecondsSince1970: 1_700_000_000_123_456)
            let rows = try await database.query(
                """
                SELECT \(id)::text AS id, \(42)::int AS number, \(1.5)::float8 AS ratio, \(true)::bool AS flag, \(when)::timestamptz AS at,
                       \(nil as String?)::text AS nothing, \(["a", "b\"c"])::text[] AS list
                """, for: "test")
            let row = try #require(rows.first)
            #expect(try row.string("id") == id)
            #expect(try row.int("number") == 42)
            #expect(try row.double("ratio") == 1.5)
            #expect(try row.bool("flag"))
            #expect(try row.time("at") == when)
            #expect(try row.optionalString("nothing") == nil)
            #expect(try row.string("list") == #"{a,"b\"c"}"#)
            #expect(throws: PostgresError.self) { try row.string("missing") }
            #expect(throws: PostgresError.self) { try row.int("id") }
        }
    }

    @Test func `P13: a statement is prepared at its second use and heals after the table changed`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 1), server.endpoint) { database in
            try await database.withConnection(for: "test") { lease in
                try await lease.script("CREATE TABLE heal (a int); INSERT INTO heal VALUES (1)")
                for _ in 0..<3 {
                    let rows = try await lease.query("SELECT * FROM heal WHERE a = \(1)")
                    #expect(rows.count == 1)
                }
                let prepared = try await lease.query("SELECT count(*) AS n FROM pg_prepared_statements WHERE statement LIKE 'SELECT * FROM heal%'")
                #expect(try prepared.first?.int("n") == 1)
                try await lease.script("ALTER TABLE heal ADD COLUMN b text DEFAULT 'new'")
                let rows = try await lease.query("SELECT * FROM heal WHERE a = \(1)")
                let row = try #require(rows.first)
                #expect(try row.string("b") == "new")
            }
        }
    }

    @Test func `P13: inside a transaction the caller is told that its plan is stale, and nothing is tried again behind its back`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 1), server.endpoint) { database in
            let look: SQL = "SELECT * FROM heal WHERE a = \(1)"
            try await database.withConnection(for: "test") { lease in
                try await lease.script("CREATE TABLE heal (a int); INSERT INTO heal VALUES (1)")
                for _ in 0..<3 { _ = try await lease.query(look) }
                try await lease.execute("BEGIN")
                try await lease.execute("ALTER TABLE heal ADD COLUMN b text DEFAULT 'new'")
                do {
                    _ = try await lease.query(look)
                    Issue.record("a stale plan was executed")
                } catch {
                    #expect((error as? PostgresError)?.sqlState == "0A000")
                }
                // Tried again, it would have been told this at once, and never the reason.
                do {
                    _ = try await lease.query(look)
                    Issue.record("an aborted transaction went on")
                } catch {
                    #expect((error as? PostgresError)?.sqlState == "25P02")
                }
                try await lease.execute("ROLLBACK")
                #expect(try await lease.query(look).first?.int("a") == 1)
            }
            #expect(database.pool.statistics().opened == 1)
        }
    }

    @Test func `the queue and the statement share one deadline, and the statement is cancelled on the server`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 1, deadline: .milliseconds(300)), server.endpoint) { database in
            try await database.untilIdle(1)
            let took = try await judged(below: .seconds(1), tries: 1) {
                await timed { await #expect(throws: PostgresError.self) { try await database.query("SELECT pg_sleep(30)", for: "slow") } }
            }
            #expect(took.holds, "\(took)")
            // The same connection serves again: it was cleared, not thrown away.
            let rows = try await database.query("SELECT count(*) AS n FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30)' AND pid <> pg_backend_pid()", for: "look", within: .seconds(2))
            #expect(try rows.first?.int("n") == 0)
            #expect(database.pool.statistics().opened == 1)
        }
    }

    @Test func `P14: a batch is one round trip, answered in order, and all or nothing`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 1), server.endpoint) { database in
            try await database.withConnection(for: "test") { lease in
                try await lease.script("CREATE TABLE counted (n int PRIMARY KEY)")
                let answers = try await lease.batch((1...10).map { "SELECT \($0)::int AS n" })
                #expect(try answers.map { try $0.first?.int("n") } == Array(1...10))
                // A statement that is prepared by now, in a batch and alone.
                for number in 1...3 { _ = try await lease.query("INSERT INTO counted VALUES (\(number))") }
                let mixed = try await lease.batch(["INSERT INTO counted VALUES (\(4))", "SELECT count(*) AS n FROM counted"])
                #expect(mixed[0].affected == 1)
                #expect(try mixed[1].first?.int("n") == 4)
            }
            await #expect(throws: PostgresError.self) {
                _ = try await database.withConnection(for: "test") { lease in
                    try await lease.batch(["INSERT INTO counted VALUES (\(5))", "INSERT INTO counted VALUES (\(1))", "SELECT 1"]).count
                }
            }
            // The connection is whole after the error, and the first insert is undone.
            let rows = try await database.query("SELECT count(*) AS n FROM counted", for: "test")
            #expect(try rows.first?.int("n") == 4)
            #expect(database.pool.statistics().opened == 1)
        }
    }

    @Test func `P14: ten statements in a batch are one round trip, and take a third of the time of ten, or less`() async throws {
        let server = try await TestPostgres.start(tcp: true)
        // In the next building: there a round trip is what a statement costs.
        let relay = try Relay(to: #require(server.tcpPort))
        let endpoint = PostgresEndpoint(keywords: ["host": "127.0.0.1", "port": "\(relay.port)", "user": "app", "dbname": "app"])
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(30)), endpoint) { database in
            let statements = (1...10).map { "SELECT \($0)::int AS n" as SQL }
            try await database.withConnection(for: "test") { lease in
                for _ in 0..<3 { _ = try await lease.batch(statements) }
                var (singly, together) = (Duration.seconds(60), Duration.seconds(60))
                for _ in 1...5 {
                    let (before, began) = (relay.sendings, MonotonicInstant.now())
                    for statement in statements { _ = try await lease.query(statement) }
                    singly = min(singly, .now() - began)
                    let (between, then) = (relay.sendings, MonotonicInstant.now())
                    #expect(try await lease.batch(statements).map { try $0.first?.int("n") } == Array(1...10))
                    together = min(together, .now() - then)
                    #expect(between - before == 10 && relay.sendings - between == 1)
                }
                print("P14: \(singly.text) one by one, \(together.text) in a batch")
                #expect(singly >= together * 3)
            }
        }
    }

    @Test func `a batch given up at its deadline leaves a connection that serves again`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 1, deadline: .milliseconds(300)), server.endpoint) { database in
            try await database.untilIdle(1)
            await #expect(throws: PostgresError.self) {
                _ = try await database.withConnection(for: "slow") { lease in
                    try await lease.batch(["SELECT 1", "SELECT pg_sleep(30)", "SELECT 2"]).count
                }
            }
            let rows = try await database.query("SELECT 7 AS n", for: "after", within: .seconds(5))
            #expect(try rows.first?.int("n") == 7)
            #expect(database.pool.statistics().opened == 1)
        }
    }

    @Test func `a transaction left open is rolled back before the next caller`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 1), server.endpoint) { database in
            try await database.withConnection(for: "careless") { lease in
                try await lease.script("CREATE TABLE left_open (a int); BEGIN; INSERT INTO left_open VALUES (1)")
            }
            let rows = try await database.query("SELECT to_regclass('left_open') AS t", for: "next")
            #expect(try rows.first?.optionalString("t") == nil)
        }
    }

    @Test func `saturation tells the holders, and is told at once`() async throws {
        let server = try await TestPostgres.start()
        let pressures = Mutex<[PoolPressure]>([])
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(10)), server.endpoint, onPressure: { pressure in pressures.withLock { $0.append(pressure) } }) { database in
            try await database.untilIdle(1)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try? await Work.$detail.withValue("task 7") { _ = try await database.query("SELECT pg_sleep(2)", for: "holder") } }
                try await database.untilLeased(1)
                let holder = try #require(database.pool.holders().holders.first)
                #expect(holder.purpose == "holder" && holder.detail == "task 7")
                #expect(holder.callSite.hasPrefix("AppCoreTests/PoolTests.swift:"))
                do {
                    _ = try await database.query("SELECT 1", for: "late", within: .seconds(1))
                    Issue.record("the pool gave a second connection")
                } catch PoolError.saturated(let picture, _, _, _) {
                    #expect(picture.leased == 1 && picture.oldestPurpose == "holder")
                }
                try await group.waitForAll()
            }
            #expect(database.pool.holders().holders.isEmpty)
        }
        #expect(pressures.withLock { $0 } == [.sustained, .queueDeadline])
    }

    @Test func `each queue that lasts is told, not the first alone`() async throws {
        let server = try await TestPostgres.start()
        let pressures = Mutex<[PoolPressure]>([])
        try await withPool(PoolConfiguration(max: 1, deadline: .seconds(60)), server.endpoint, onPressure: { pressure in pressures.withLock { $0.append(pressure) } }) { database in
            try await database.untilIdle(1)
            for round in 1...2 {
                try await database.withConnection(for: "holder") { _ in
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        group.addTask { try? await database.withConnection(for: "waits") { _ in } }
                        try await until("queue \(round) is told") { pressures.withLock { $0.count } >= round }
                        group.cancelAll()
                    }
                }
            }
        }
        #expect(pressures.withLock { $0 } == [.sustained, .sustained])
    }

    @Test func `whoever waits below the maximum gets a new connection at once, not when the pool next looks around`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 8, min: 1), server.endpoint) { database in
            try await database.untilIdle(1)
            @Sendable func hold(_ more: Int) async throws {
                guard more > 0 else { return }
                try await database.withConnection(for: "holder", within: .seconds(60)) { _ in try await hold(more - 1) }
            }
            // Seven that are opened one after the other. A waiter of 250 ms makes the pool look around as well: seven of those would take twice as long.
            let took = try await judged(below: .milliseconds(875), tries: 1) { try await timed { try await hold(8) } }
            #expect(took.holds, "\(took)")
            #expect(database.pool.statistics().opened == 8)
        }
    }

    @Test func `P2: dead idle connections cost no caller an error`() async throws {
        let server = try await TestPostgres.start()
        try await withPool(PoolConfiguration(max: 10, min: 10), server.endpoint) { database in
            try await database.untilIdle(10)
            let ours = try await server.superuserScript("SELECT string_agg(pid::text, ',') FROM pg_stat_activity WHERE usename = 'app'")
            try await server.superuserScript("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid IN (\(ours))")
            // They are gone when the server says so; nobody waits for the pool to have noticed.
            let left = "SELECT count(*) FROM pg_stat_activity WHERE pid IN (\(ours))"
            try await until("the backends are gone") { try await server.superuserScript(left) == "0" }
            let (times, reference) = try await beside {
                try await withThrowingTaskGroup(of: Duration.self) { group in
                    for number in 0..<30 {
                        group.addTask {
                            try await timed {
                                let rows = try await database.query("SELECT \(number)::int AS n", for: "after")
                                #expect(try rows.first?.int("n") == number)
                            }
                        }
                    }
                    return try await group.reduce(into: [Duration]()) { $0.append($1) }
                }
            }
            #expect(times.count == 30)
            let slowest = Judged(times.quantile(1), bound: .milliseconds(150), reference: reference)
            #expect(slowest.holds, "\(slowest)")
            let statistics = database.pool.statistics()
            #expect(statistics.closed[.error] == 10)
            #expect(statistics.queryErrorsBySQLStateClass.values.allSatisfy { $0 == 0 })
        }
    }
}
