import TestServers
import Testing
import Vitals

@testable import AppCore

/// Prepared statements whose tables changed, where the driver cannot try again by itself: inside transactions.
@Suite("Stale plans")
struct StalePlanTests {
    private static let first: SQL = "SELECT * FROM changing WHERE n > \(0)"
    private static let second: SQL = "SELECT * FROM changing ORDER BY n"

    private func withTable(connections: Int, _ body: @Sendable (Database, TestPostgres) async throws -> Void) async throws {
        let server = try await TestPostgres.start()
        let configuration = PoolConfiguration(max: connections, min: connections, deadline: .seconds(20), reserved: 0)
        try await withPool(configuration, server.endpoint) { database in
            try await database.withConnection(for: "setup") { try await $0.script("CREATE TABLE changing (n int); INSERT INTO changing VALUES (1)") }
            try await body(database, server)
        }
    }

    /// Does the same on each connection of the pool, while all of them are leased.
    private func onEach(_ database: Database, _ left: Int, _ body: @Sendable (inout Lease) async throws -> Void) async throws {
        guard left > 0 else { return }
        try await database.withConnection(for: "each") { lease in
            try await body(&lease)
            try await onEach(database, left - 1, body)
        }
    }

    /// Both texts, in a transaction.
    private func bothTexts(_ lease: inout Lease) async throws {
        try await lease.transaction { lease in
            _ = try await lease.query(Self.first)
            _ = try await lease.query(Self.second)
        }
    }

    private func ask(_ lease: inout Lease, _ number: Int) async throws {
        #expect(try await lease.query("SELECT n::text AS n FROM changing WHERE n = \(number)").first?.string("n") == "1")
    }

    private func expectStalePlan(_ body: () async throws -> Void) async {
        do {
            try await body()
            Issue.record("a stale plan was executed")
        } catch {
            #expect((error as? PostgresError)?.sqlState == "0A000", "\(error)")
        }
    }

    @Test func `D3: a stale plan costs one transaction, on one connection, and no other on any`() async throws {
        try await withTable(connections: 3) { database, server in
            try await onEach(database, 3) { lease in for _ in 0..<3 { try await bothTexts(&lease) } }
            for round in 0..<2 {
                try await server.superuserScript("ALTER TABLE changing ADD COLUMN extra_\(round) int")
                await expectStalePlan { try await database.withConnection(for: "next") { try await bothTexts(&$0) } }
                // The second text was as old, and so were all connections.
                try await onEach(database, 3) { lease in for _ in 0..<3 { try await bothTexts(&lease) } }
            }
            #expect(database.pool.statistics().opened == 3)
        }
    }

    @Test func `D3: what heals by itself outside a transaction spares the transactions on the other connections`() async throws {
        try await withTable(connections: 2) { database, server in
            try await onEach(database, 2) { lease in for _ in 0..<3 { try await bothTexts(&lease) } }
            try await server.superuserScript("ALTER TABLE changing ADD COLUMN extra int")
            try await database.withConnection(for: "heals") { lease in
                _ = try await lease.query(Self.first)
                try await onEach(database, 1) { try await bothTexts(&$0) }
                try await bothTexts(&lease)
            }
        }
    }

    @Test func `D3: parameters that have the type of a column as it was heal, too`() async throws {
        try await withTable(connections: 2) { database, server in
            func change(to type: String) async throws {
                try await server.superuserScript("ALTER TABLE changing ALTER COLUMN n TYPE \(type) USING n::\(type)")
            }
            for _ in 0..<3 { try await onEach(database, 2) { try await ask(&$0, 1) } }
            try await change(to: "text")
            // Outside a transaction nobody notices.
            try await onEach(database, 2) { lease in for _ in 0..<3 { try await ask(&lease, 1) } }
            try await change(to: "int")
            do {
                try await database.withTransaction(for: "first") { try await ask(&$0, 1) }
                Issue.record("a parameter of the old type was taken")
            } catch {
                #expect((error as? PostgresError)?.sqlState == "42883", "\(error)")
            }
            try await onEach(database, 2) { lease in
                for _ in 0..<3 { try await lease.transaction { try await ask(&$0, 1) } }
            }
        }
    }

    @Test func `D3: a batch inside a transaction heals as well`() async throws {
        try await withTable(connections: 1) { database, server in
            func together() async throws {
                try await database.withTransaction(for: "batch") { _ = try await $0.batch(["SELECT 1", Self.first, Self.second]).count }
            }
            for _ in 0..<3 { try await together() }
            try await server.superuserScript("ALTER TABLE changing ADD COLUMN extra int")
            await expectStalePlan { try await together() }
            for _ in 0..<3 { try await together() }
        }
    }

    @Test func `D3: names that the server dropped in a transaction are forgotten, too`() async throws {
        try await withTable(connections: 1) { database, _ in
            try await database.withConnection(for: "drops") { lease in
                for _ in 0..<3 { try await bothTexts(&lease) }
                do {
                    try await lease.transaction { lease in
                        // No command tag shows it.
                        try await lease.execute("DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$")
                        _ = try await lease.query(Self.first)
                    }
                    Issue.record("a name that is gone was executed")
                } catch {
                    #expect((error as? PostgresError)?.sqlState == "26000")
                }
                for _ in 0..<3 { try await bothTexts(&lease) }
            }
        }
    }

    @Test func `a name that the server forgot behind our back is prepared again`() async throws {
        try await withTable(connections: 1) { database, _ in
            try await database.withConnection(for: "test") { lease in
                for _ in 0..<3 { _ = try await lease.query(Self.first) }
                // No command tag shows it.
                try await lease.execute("DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$")
                for _ in 0..<3 { #expect(try await lease.query(Self.first).count == 1) }
                #expect(try await lease.batch([Self.first, Self.first]).map(\.count) == [1, 1])
                try await lease.execute("DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$")
                #expect(try await lease.batch([Self.first, Self.first]).map(\.count) == [1, 1])
            }
        }
    }

    @Test func `a lease that drops the names itself may go on in a transaction`() async throws {
        try await withTable(connections: 1) { database, _ in
            for _ in 0..<3 { try await database.withConnection(for: "first") { try await bothTexts(&$0) } }
            try await database.withConnection(for: "drops") { lease in
                for drop in ["DISCARD ALL", "DEALLOCATE ALL"] {
                    for _ in 0..<3 { try await bothTexts(&lease) }
                    try await lease.execute(SQL(unescaped: drop))
                    for _ in 0..<3 { try await bothTexts(&lease) }
                    try await lease.script(drop)
                    try await bothTexts(&lease)
                }
            }
        }
    }

    @Test func `names that are of no use any more are taken back from the server before it holds too many`() async throws {
        try await withTable(connections: 1) { database, server in
            try await database.withConnection(for: "test") { lease in
                for round in 0..<4 {
                    for text in 0..<100 { for _ in 0..<2 { _ = try await lease.query("SELECT *, \(unescaped: "\(text)") FROM changing") } }
                    try await server.superuserScript("ALTER TABLE changing ADD COLUMN extra_\(round) int")
                    _ = try await lease.query("SELECT *, 0 FROM changing")
                }
                let held = try await lease.query("SELECT count(*) AS n FROM pg_prepared_statements").first?.int("n") ?? 0
                #expect(held <= 256)
            }
        }
    }

    /// Statements that fail for what they are given, with the SQLSTATE that a stale plan may have. Each takes a number from a sequence.
    private static let touchy: [(text: @Sendable (String) -> SQL, good: String, bad: String, sqlState: String)] = [
        ({ "SELECT counted(), to_tsquery('simple', \($0))" }, "a & b", "a b", "42601"),
        ({ "SELECT counted(), \($0)::text::regclass" }, "pg_class", "nowhere", "42P01"),
        ({ "SELECT counted(), raised(\($0))" }, "", "42883", "42883"), ({ "SELECT counted(), raised(\($0))" }, "", "0A000", "0A000"),
        ({ "SELECT counted(), parsed(\($0))" }, "1", "nowhere", "42703"),
    ]

    /// What the server has of ours on this connection. No name is given twice.
    private func names(_ lease: inout Lease) async throws -> Set<String> {
        try await Set(lease.query("SELECT name FROM pg_prepared_statements").map { row in try row.string("name") })
    }

    @Test(arguments: touchy.indices)
    func `what a value or a function brings is no stale plan: it is sent once, and every connection keeps its names`(index: Int) async throws {
        let statement = Self.touchy[index]
        try await withTable(connections: 2) { database, server in
            try await database.withConnection(for: "setup") { lease in
                try await lease.script(
                    """
                    CREATE SEQUENCE count;
                    CREATE FUNCTION counted() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN nextval(''count''); END';
                    CREATE FUNCTION raised(code text) RETURNS int LANGUAGE plpgsql AS
                    $$ BEGIN IF code <> '' THEN RAISE EXCEPTION 'as if' USING ERRCODE = code; END IF; RETURN 0; END $$;
                    CREATE FUNCTION parsed(expression text) RETURNS int LANGUAGE plpgsql AS
                    $$ DECLARE answer int; BEGIN EXECUTE 'SELECT ' || expression INTO answer; RETURN answer; END $$
                    """)
            }
            func fail(_ lease: inout Lease) async {
                #expect(await lease.failure(of: statement.text(statement.bad))?.sqlState == statement.sqlState)
            }
            func count() async throws -> Int { Int(try await server.superuserScript("SELECT last_value FROM count")) ?? 0 }
            try await database.withConnection(for: "one") { one in
                try await database.withConnection(for: "other") { other in
                    for _ in 0..<3 {
                        try await bothTexts(&one)
                        try await bothTexts(&other)
                        _ = try await one.query(statement.text(statement.good))
                        _ = try await other.query(statement.text(statement.good))
                        _ = try await (names(&one), names(&other))
                    }
                    let before = try await (names(&one), names(&other), count())
                    for _ in 0..<20 { await fail(&one) }
                    for _ in 0..<20 {
                        await #expect(throws: PostgresError.self) {
                            try await one.transaction { lease in
                                await fail(&lease)
                                try await ask(&lease, 1)
                            }
                        }
                    }
                    for _ in 0..<3 {
                        try await bothTexts(&one)
                        try await bothTexts(&other)
                    }
                    // Others have come, such as ROLLBACK's.
                    #expect(try await names(&one).isSuperset(of: before.0))
                    #expect(try await names(&other) == before.1)
                    #expect(try await count() <= before.2 + 40, "sent twice")
                }
            }
        }
    }

    @Test func `what fails as well when it is parsed anew tells nobody to forget a name`() async throws {
        try await withTable(connections: 2) { database, server in
            try await server.superuserScript("CREATE TABLE going (n int); GRANT SELECT ON going TO app")
            try await database.withConnection(for: "one") { one in
                try await database.withConnection(for: "other") { other in
                    for _ in 0..<3 {
                        try await bothTexts(&other)
                        _ = try await one.query("SELECT n FROM going")
                        _ = try await names(&other)
                    }
                    let before = try await names(&other)
                    try await server.superuserScript("DROP TABLE going")
                    for _ in 0..<3 { #expect(await one.failure(of: "SELECT n FROM going")?.sqlState == "42P01") }
                    for _ in 0..<3 { try await bothTexts(&other) }
                    #expect(try await names(&other) == before)
                }
            }
        }
    }

    @Test func `a text that has broken two transactions gets no name any more`() {
        let stale = StalePlans()
        var cache = StatementCache(stale: stale)
        for breaks in 0..<2 {
            #expect(cache.plan(for: "a") == .once)
            #expect(cache.plan(for: "a") == .prepare(name: "s\(breaks + 1)"))
            cache.prepared("a", as: "s\(breaks + 1)")
            cache.areStale(["a"], breaking: "a")
        }
        for _ in 0..<3 { #expect(cache.plan(for: "a") == .once) }
        #expect(cache.plan(for: "b") == .once)
        #expect(cache.plan(for: "b") == .prepare(name: "s3"))
    }

    @Test func `what keeps healing tells the other connections once in ten seconds, what broke a transaction at once`() {
        let stale = StalePlans()
        let start = MonotonicInstant(nanoseconds: 0)
        var numbers: [Int] = []
        for seconds in [0, 9, 10, 19, 20] {
            stale.healed(now: start + .seconds(seconds))
            numbers.append(stale.number)
        }
        #expect(numbers == [1, 1, 2, 2, 3])
        stale.brokeTransaction("a", now: start + .seconds(21))
        #expect(stale.number == 4)
    }
}
