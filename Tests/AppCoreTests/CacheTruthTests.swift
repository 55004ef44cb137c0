import TestServers
import Testing
import Vitals

@testable import AppCore

private typealias Note = CachedRow.Note

/// Moves on by itself, as a clock does.
private struct MovingTime: TimeSource {
    let manual = ManualTime()

    func now() -> MonotonicInstant {
        manual.advance(by: .nanoseconds(1))
        return manual.now()
    }

    func wallNow() -> WallTime { manual.wallNow() }
    func sleep(until instant: MonotonicInstant) async throws { try await manual.sleep(until: instant) }
}

/// What the cache answers is what the database has, or had a known time ago.
@Suite("The cache and the truth")
struct CacheTruthTests {
    private let lost = PostgresError.connectionLost("reset by peer")

    // MARK: C1

    @Test("C1: after a write whose answer was lost the old value is told to nobody, and doubtful ones only for a moment")
    func ambiguous() async throws {
        let time = ManualTime()
        let cache = TieredCache(redis: nil, time: time)
        let row = CachedRow()
        try await running(cache) {
            #expect(try await cache.value(for: "a", load: row.read).value.text == "first")
            time.advance(by: .seconds(1))
            // The row is changed later than its writer is told that nobody knows.
            await #expect(throws: PostgresError.self) { _ = try await cache.writing("a") { () async throws -> Note in throw lost } }
            #expect(try await cache.value(for: "a", load: row.read).value.text == "first")
            row.set(Note(version: 2, text: "second"))
            time.advance(by: CacheBarriers.moment)
            #expect(try await cache.value(for: "a", load: row.read).value.text == "second")
            // When nothing is open any more, a value lives as long as any.
            time.advance(by: CacheBarriers.doubt)
            let reads = row.reads
            for _ in 0..<5 {
                _ = try await cache.value(for: "a", load: row.read)
                time.advance(by: .seconds(10))
            }
            #expect(row.reads == reads + 1)
        }
    }

    @Test("C1: a load that began before such a write is not kept by anybody")
    func overtaken() async throws {
        let time = ManualTime()
        let cache = TieredCache(redis: nil, time: time)
        let row = CachedRow()
        let held = HeldLoad(of: row)
        try await running(cache) {
            async let early = cache.value(for: "a", load: held.load)
            await held.untilRead()
            await #expect(throws: PostgresError.self) { _ = try await cache.writing("a") { () async throws -> Note in throw lost } }
            row.set(Note(version: 2, text: "second"))
            time.advance(by: .milliseconds(1))
            #expect(try await cache.value(for: "a", load: row.read).value.text == "second")
            held.release()
            // Its own caller asked before the write, and may be told.
            let told = try await early
            #expect(told.value.text == "first")
            #expect(try await cache.value(for: "a", load: row.read).value.text == "second")
        }
    }

    @Test(
        "C1: only who knows that nothing was changed says so",
        arguments: [
            (PostgresError.connectionLost("x"), true), (.deadlineExceeded(after: .seconds(1)), true), (.cancelled, true),
            (.decoding(column: "x", reason: "y"), true), (.notSent("x"), false), (.connectFailed("x", sqlState: nil), false),
            (.connectTimedOut("x", after: .zero), false), (.server(ServerError(sqlState: "23514", message: "")), false),
            (.server(ServerError(sqlState: "57014", message: "")), false), (.server(ServerError(sqlState: "40001", message: "")), false),
            (.server(ServerError(sqlState: "25006", message: "")), false), (.server(ServerError(sqlState: "57P01", message: "")), true),
            (.server(ServerError(sqlState: "08006", message: "")), true), (.server(ServerError(sqlState: "40003", message: "")), true),
            (.server(ServerError(sqlState: "XX000", message: "")), true), (.server(ServerError(sqlState: "58030", message: "")), true),
            (.server(ServerError(sqlState: "53100", message: "")), false), (.unsupported("x"), true), (.transactionRolledBack, false),
        ] as [(PostgresError, Bool)])
    func mayHave(error: PostgresError, isOpen: Bool) {
        #expect(mayHaveTakenEffect(error) == isOpen)
    }

    @Test("C1: an update that was given up on its way, and takes effect later, is seen")
    func lateCommit() async throws {
        let server = try await TestPostgres.start()
        try await TestApplication.with(server, redis: try await TestRedis.start()) { application in
            try await application.untilRedisIsUp()
            let workspace = try await application.workspaces.create(NewWorkspace(name: "first", ticker: "ACME"))
            #expect(try await application.workspaces.find(workspace.id).name == "first")
            @Sendable func waitsForTheRow() async throws -> Bool {
                let waits = try await application.database.query(
                    "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'", for: "test")
                return try waits.first?.int("n") == 1
            }
            try await application.database.withTransaction(for: "lock", within: .seconds(60)) { lease in
                try await lease.execute("SELECT FROM workflows WHERE id = \(workspace.id) FOR UPDATE")
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { _ = try? await application.workspaces.update(workspace.id, WorkspacePatch(name: "mine")) }
                    try await until("it waits for the row") { try await waitsForTheRow() }
                    group.cancelAll()
                    try await group.waitForAll()
                }
                // On a busy machine the cancel comes late. A statement that waited on would have the row after all.
                try await until("it waits no more") { try await !waitsForTheRow() }
                // What the statement would have done had its cancel come too late.
                try await lease.execute("UPDATE workflows SET name = 'second', version = version + 1 WHERE id = \(workspace.id)")
            }
            #expect(try await application.workspaces.find(workspace.id).name == "second")
        }
    }

    // MARK: C2

    @Test("C2: a value from Redis is as old as its load, and its refresh goes to the database")
    func age() async throws {
        let server = try await TestRedis.start()
        let row = CachedRow()
        try await server.withCache { first, _, _ in
            _ = try await first.value(for: "a", load: row.read)
            try await until("it is in Redis") { try await server.command("EXISTS", "a") == "1" }
            // Loaded four minutes ago at least, of the five that it lives.
            #expect(try await server.command("PEXPIRE", "a", "25000") == "1")
            row.set(Note(version: 2, text: "second"))
            try await server.withCache { second, _, _ in
                let found = try await second.value(for: "a", load: row.read)
                #expect(found.source == .redis && found.value.text == "first" && found.age > CacheConfiguration().lifetime / 2, "\(found.age)")
                let again = try await second.value(for: "a", load: row.read)
                #expect(again.source == .memory && again.age >= found.age)
                // Four fifths of its life are over, so that look had it loaded anew.
                try await until("it is refreshed") { try await second.value(for: "a", load: row.read).value.text == "second" }
                #expect(try await second.value(for: "a", load: row.read).age < again.age)
                #expect(row.reads == 2 && second.statistics().refreshes == 1)
            }
        }
    }

    // MARK: C3

    @Test("C3: a row that is gone is gone: it is not told as stale, nor from Redis")
    func gone() async throws {
        let time = ManualTime()
        let cache = TieredCache(configuration: CacheConfiguration(lifetime: .seconds(100)), redis: nil, time: time)
        let row = CachedRow()
        try await running(cache) {
            _ = try await cache.value(for: "a", load: row.read)
            time.advance(by: .seconds(120))
            row.set(nil)
            for _ in 0..<3 {
                await #expect(throws: RequestProblem.notFound(what: "note")) { _ = try await cache.value(for: "a", load: row.read) }
            }
            #expect(cache.statistics().memoryEntries == 0 && cache.statistics().stale == 0)
        }
    }

    @Test("C3: whoever finds that a workspace is gone takes it out of the cache, and out of Redis", arguments: ["update", "snapshot", "snapshots", "log", "task", "tasks"])
    func goneElsewhere(way: String) async throws {
        let server = try await TestPostgres.start()
        let redis = try await TestRedis.start()
        try await TestApplication.with(server, redis: redis) { application in
            try await application.untilRedisIsUp()
            let workspace = try await application.workspaces.create(NewWorkspace(name: "One", ticker: "ACME"))
            _ = try await application.workspaces.find(workspace.id)
            try await until("it is in Redis") { try await redis.command("EXISTS", "workspace:1") == "1" }
            try await application.database.execute("DELETE FROM workflows WHERE id = \(workspace.id)", for: "test")
            await #expect(throws: RequestProblem.self) {
                switch way {
                case "update": _ = try await application.workspaces.update(workspace.id, WorkspacePatch(name: "Two"))
                case "snapshot": _ = try await application.addSnapshot(#"{"type":"note","payload":1}"#, to: workspace.id)
                case "snapshots": _ = try await application.workspaces.snapshotPage(workspace.id)
                case "log": _ = try await application.workspaces.auditLogPage(workspace.id)
                case "task": _ = try await application.tasks.create(NewAgentTask(workspaceID: workspace.id, type: "risk-assessment"))
                default: _ = try await application.tasks.page(of: workspace.id)
                }
            }
            await #expect(throws: RequestProblem.self) { _ = try await application.workspaces.find(workspace.id) }
            #expect(try await redis.command("EXISTS", "workspace:1") == "0")
        }
    }

    @Test func `who asks for ids that never existed, while Redis is away, has nothing of it distrusted`() async throws {
        let server = try await TestRedis.start()
        try await server.withCache { cache, connection, _ in
            await cache.store(Note(version: 1), for: "kept", asked: .now())
            try await server.stop()
            try await until("Redis is away") { !connection.isUp }
            for number in 0..<2 * RedisTier.suspectLimit {
                _ = try? await cache.writing("unknown:\(number)") { () async throws -> Note in throw RequestProblem.notFound(what: "note") }
            }
            #expect(cache.statistics().suspectKeys == RedisTier.suspectLimit / 2)
            // What was here may be there, too.
            await cache.forget("kept")
            #expect(cache.statistics().suspectKeys == RedisTier.suspectLimit / 2 + 1)
        }
    }

    // MARK: C4

    @Test("C4: a write wins over what was known, though the database went back in time: in this process, in Redis, in the next one")
    func backInTime() async throws {
        let server = try await TestPostgres.start()
        let redis = try await TestRedis.start()
        try await TestApplication.with(server, redis: redis) { application in
            try await application.untilRedisIsUp()
            let workspace = try await application.workspaces.create(NewWorkspace(name: "v1", ticker: "ACME"))
            for number in 2...7 { _ = try await application.workspaces.update(workspace.id, WorkspacePatch(name: "v\(number)")) }
            try await application.database.execute("UPDATE workflows SET name = 'restored', version = 2 WHERE id = \(workspace.id)", for: "restore")
            #expect(try await application.workspaces.update(workspace.id, WorkspacePatch(name: "after")).version == 3)
            #expect(try await application.workspaces.find(workspace.id).name == "after")
            #expect(application.workspaces.newestVersion(of: workspace.id) == 3)
            let elsewhere = TieredCache(redis: application.redis)
            try await running(elsewhere) { () async throws in
                let workspaces = WorkspaceStore(database: application.database, cache: elsewhere)
                #expect(try await workspaces.find(workspace.id).name == "after")
            }
        }
    }

    @Test("C4: versions are compared within one history: who asked later, and is answered with less, is told the truth")
    func histories() {
        let now = MonotonicInstant(nanoseconds: 1_000_000_000_000)
        func tier() -> MemoryTier {
            var tier = MemoryTier(limit: 10_000)
            _ = tier.keep(Note(version: 7), for: "a", size: 1, loadedAt: now, lifetime: .seconds(60), now: now)
            tier.raiseFloor(for: "a", to: 7, until: now + .seconds(72), now: now)
            return tier
        }
        func keeps(_ version: Int, asked: MonotonicInstant?) -> Bool {
            var tier = tier()
            return tier.keep(Note(version: version), for: "a", size: 1, loadedAt: now, lifetime: .seconds(60), asked: asked, now: now + .seconds(2))
        }
        #expect(keeps(3, asked: now + .seconds(1)), "a primary that was asked afterwards")
        #expect(!keeps(3, asked: now - .seconds(1)), "one that was asked before, and answered late")
        #expect(!keeps(3, asked: nil), "a standby, or a copy")
        var back = tier()
        _ = back.keep(Note(version: 3), for: "a", size: 1, loadedAt: now, lifetime: .seconds(60), asked: now + .seconds(1), now: now + .seconds(2))
        #expect(back.newestVersion(for: "a", at: now + .seconds(3)) == 3)
        // In the new history, too, an older version never comes back.
        let isKept = back.keep(Note(version: 2), for: "a", size: 1, loadedAt: now, lifetime: .seconds(60), now: now + .seconds(3))
        #expect(!isKept)
    }

    // MARK: C7

    @Test("C7: what is under a key in Redis is what was asked for, or a miss")
    func strangers() async throws {
        let server = try await TestPostgres.start()
        let redis = try await TestRedis.start()
        try await TestApplication.with(server, redis: redis) { application in
            try await application.untilRedisIsUp()
            let one = try await application.workspaces.create(NewWorkspace(name: "One", ticker: "ACME"))
            let two = try await application.workspaces.create(NewWorkspace(name: "Two", ticker: "ACME"))
            _ = try await application.workspaces.update(one.id, WorkspacePatch(name: "One, later"))
            let truth = try await redis.command("GET", "workspace:1")
            // Another's, an older program's, somebody's text, another type of ours, no JSON, no lifetime.
            let strange = [
                truth, #"{"id":1,"name":"One","version":9}"#, "hello", #"{"key":"workspace:2","version":1,"lifetime":300000,"value":{"version":1}}"#,
                truth.replacing("workspace:1", with: "workspace:2"), "",
            ]
            for text in strange {
                _ = try await redis.command("SET", "workspace:2", text, "EX", "300")
                let elsewhere = TieredCache(redis: application.redis)
                try await running(elsewhere) {
                    let found = try await WorkspaceStore(database: application.database, cache: elsewhere).lookUp(two.id)
                    #expect(found.value == two && found.source == .loaded, "\(text)")
                }
            }
            _ = try await redis.command("SET", "workspace:2", truth)
            let other = TieredCache(redis: application.redis)
            try await running(other) {
                _ = try await WorkspaceStore(database: application.database, cache: other).lookUp(two.id)
                try await until("what is not ours is written over") { try await redis.command("GET", "workspace:2").contains(#""name":"Two""#) }
            }
            // What never ends says nothing of its age.
            _ = try await redis.command("PERSIST", "workspace:2")
            let elsewhere = TieredCache(redis: application.redis)
            try await running(elsewhere) { () async throws in
                #expect(try await WorkspaceStore(database: application.database, cache: elsewhere).lookUp(two.id).source == .loaded)
            }
        }
    }

    // MARK: Section 6

    @Test func `after a failed load an expired value is told for a second without another`() async throws {
        let time = ManualTime()
        let cache = TieredCache(configuration: CacheConfiguration(lifetime: .seconds(100)), redis: nil, time: time)
        let row = CachedRow()
        try await running(cache) {
            _ = try await cache.value(for: "a", load: row.read)
            time.advance(by: .seconds(120))
            row.fail(with: lost)
            for _ in 0..<2 { #expect(try await cache.value(for: "a", load: row.read).source == .stale) }
            #expect(row.reads == 2, "each reader asked the sick database")
            #expect(cache.statistics().misses == 2, "what was not looked for is no miss")
            time.advance(by: .seconds(1))
            #expect(try await cache.value(for: "a", load: row.read).source == .stale)
            #expect(row.reads == 3)
            // In the end it is too old to be told.
            time.advance(by: cache.configuration.stale)
            await #expect(throws: PostgresError.self) { _ = try await cache.value(for: "a", load: row.read) }
        }
    }

    @Test func `a load that takes all the time it may have has failed like any other`() async throws {
        let time = MovingTime()
        let cache = TieredCache(configuration: CacheConfiguration(lifetime: .seconds(100)), redis: nil, time: time)
        let row = CachedRow()
        try await running(cache) {
            _ = try await cache.value(for: "a", load: row.read)
            time.manual.advance(by: .seconds(120))
            row.fail(with: lost)
            for _ in 0..<2 {
                let answer = try await cache.value(for: "a") { () async throws -> Note in
                    time.manual.advance(by: cache.configuration.load)
                    return try await row.read()
                }
                #expect(answer.source == .stale)
            }
            #expect(row.reads == 2, "each reader asked the sick database")
        }
    }

    @Test func `a write that Redis did not get leaves nothing there that is believed`() async throws {
        let server = try await TestRedis.start()
        try await server.withCache { cache, connection, _ in
            await cache.store(Note(version: 1), for: "a", asked: .now())
            try await server.stop()
            try await until("Redis is away") { !connection.isUp }
            _ = try await cache.writing("a") { Note(version: 2) }
            #expect(cache.statistics().suspectKeys == 1)
        }
    }

    @Test func `more keys in doubt than are remembered leave none that is not, until the doubt is over`() {
        let now = MonotonicInstant(nanoseconds: 0)
        var barriers = CacheBarriers()
        for number in 0..<CacheBarriers.limit { barriers.raise(for: "\(number)", inDoubt: true, loads: .seconds(10), now: now) }
        #expect(!barriers.isInDoubt("another", at: now) && !barriers.overtook("another", loadedAt: now))
        barriers.raise(for: "one more", inDoubt: true, loads: .seconds(10), now: now)
        for key in ["0", "one more", "another"] { #expect(barriers.isInDoubt(key, at: now) && barriers.overtook(key, loadedAt: now), "\(key)") }

        let later = now + CacheBarriers.doubt + .seconds(1)
        #expect(!barriers.isInDoubt("another", at: later) && !barriers.overtook("another", loadedAt: later))
        barriers.raise(for: "later", inDoubt: true, loads: .seconds(10), now: later)
        #expect(barriers.isInDoubt("later", at: later) && !barriers.isInDoubt("another", at: later), "there is room again")
    }
}
