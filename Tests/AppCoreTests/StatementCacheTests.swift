import TestServers
import Testing
import Vitals

@testable import AppCore

/// Which statements get a name on the server, and for how long.
@Suite("StatementCache")
struct StatementCacheTests {
    /// Uses `text` as a connection would, and answers what that took.
    private func use(_ cache: inout StatementCache, _ text: String) -> [StatementCache.Plan] {
        var steps: [StatementCache.Plan] = []
        while true {
            let plan = cache.plan(for: text)
            steps.append(plan)
            switch plan {
            case .once, .changing, .execute: return steps
            case .prepare(let name): cache.prepared(text, as: name)
            case .makeRoom(let names): cache.madeRoom(names)
            }
        }
    }

    @Test func `a text is named at its second use`() {
        var cache = StatementCache()
        #expect(use(&cache, "a") == [.once])
        #expect(use(&cache, "a") == [.prepare(name: "s1"), .execute(name: "s1")])
        #expect(use(&cache, "a") == [.execute(name: "s1")])
        #expect(cache.name(of: "a") == "s1" && cache.name(of: "b") == nil)
    }

    @Test func `without names every statement is sent whole`() {
        var cache = StatementCache(namesStatements: false)
        for _ in 0..<3 { #expect(use(&cache, "a") == [.once]) }
        #expect(cache.name(of: "a") == nil)
    }

    @Test func `a full cache gives the name unused for longest to a newcomer, once that one has been idle for long`() {
        var cache = StatementCache(limit: 2)
        for text in ["a", "b"] { for _ in 0..<2 { _ = use(&cache, text) } }
        // Both are in use: a third one goes without.
        for _ in 0..<3 { #expect(use(&cache, "c") == [.once]) }
        for _ in 0..<12 { _ = use(&cache, "b") }
        #expect(use(&cache, "c") == [.makeRoom(names: ["s1"]), .prepare(name: "s3"), .execute(name: "s3")])
        #expect(use(&cache, "b") == [.execute(name: "s2")])
        #expect(use(&cache, "a") == [.once])
    }

    @Test func `texts that never come again drive out no statement`() {
        var cache = StatementCache(limit: 2)
        for _ in 0..<2 { _ = use(&cache, "a") }
        for number in 0..<100 { #expect(use(&cache, "SELECT \(number)") == [.once]) }
        #expect(use(&cache, "a") == [.execute(name: "s1")])
    }

    @Test func `names that a batch has been given, and the server has not confirmed, count against the limit`() {
        var cache = StatementCache(limit: 2)
        for text in ["a", "a", "b", "c"] { _ = use(&cache, text) }
        let plans = ["b", "c"].enumerated().map { cache.plan(for: $1, pending: $0) }
        #expect(plans == [.prepare(name: "s2"), .once])
    }

    @Test func `the server never holds more names than the cache may give`() async throws {
        let server = try await TestPostgres.start()
        let later = Deadline(.now() + .seconds(30))
        try await withConnection(server.endpoint) { connection in
            for number in 0..<300 {
                for _ in 0..<3 { _ = try await connection.query("SELECT \(unescaped: "\(number)")", until: later) }
            }
            for _ in 0..<1_100 { _ = try await connection.query("SELECT 0", until: later) }
            for _ in 0..<3 { _ = try await connection.query("SELECT 'new'", until: later) }
            let names = try await connection.query(
                "SELECT count(*) AS n, count(*) FILTER (WHERE statement LIKE '%new%') AS new FROM pg_prepared_statements",
                until: later)
            #expect(connection.condition == .reusable, "that a name was given up is no change of the session")
            #expect(try names.first?.int("n") == 256)
            #expect(try names.first?.int("new") == 1)
        }
    }
}
