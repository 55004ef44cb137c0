import Synchronization
import TestServers
import Testing
import Vitals

@testable import AppCore

private typealias Note = CachedRow.Note

/// What Redis has from before is not believed after it was away, and nothing is left there of a row that is gone.
@Suite("The cache, and a Redis that was away")
struct CacheAndRedisTests {
    private let configuration = CacheConfiguration(lifetime: .seconds(100))

    /// Has another cache put the row into Redis, and Redis then refuse what the cache asks of it.
    private func share(_ row: CachedRow, in server: TestRedis) async throws {
        try await server.withCache(configuration) { other, _, _ in
            _ = try await other.value(for: "a", load: row.read)
            try await until("it is in Redis") { try await server.command("EXISTS", "a") == "1" }
        }
    }

    private func refuse(_ command: String, by server: TestRedis) async throws {
        #expect(try await server.command("ACL", "SETUSER", "default", "-" + command) == "OK")
    }

    /// Moves the cache's time until Redis is used again.
    private func admit(_ command: String, by server: TestRedis, _ cache: TieredCache, _ time: ManualTime) async throws {
        #expect(try await server.command("ACL", "SETUSER", "default", "+" + command) == "OK")
        try await until("Redis is used again") {
            try await time.untilAsleep()
            time.advance(by: .milliseconds(500))
            return cache.redisObstacle == nil
        }
    }

    @Test(
        "C4: after a Redis that was away is back, its older version is not taken, be the newer one evicted here or expired",
        arguments: [(memory: 0, later: Duration.zero), (memory: 1 << 20, later: .seconds(130))])
    func olderInRedis(memory: Int, later: Duration) async throws {
        let server = try await TestRedis.start()
        let time = ManualTime()
        let row = CachedRow(Note(version: 4, text: "fourth"))
        try await share(row, in: server)
        row.set(Note(version: 5, text: "fifth"))
        var small = configuration
        small.memoryBytes = memory
        try await server.withCache(small, time: time) { cache, _, _ in
            try await refuse("eval", by: server)
            #expect(try await cache.value(for: "a", load: row.read).value.text == "fifth")
            try await until("it is known that Redis did not get it") {
                cache.statistics().errors[.set] == 1 && cache.newestVersion(for: "a") == 5
            }
            time.advance(by: later)
            try await admit("eval", by: server, cache, time)
            let asked = cache.statistics().operations[.get]?.count ?? 0
            #expect(try await server.command("GET", "a").contains("fourth"))
            let found = try await cache.value(for: "a", load: row.read)
            #expect(found.value.text == "fifth" && found.source == .loaded)
            #expect(cache.statistics().operations[.get]?.count == asked + 1, "Redis was not asked")
        }
    }

    @Test("C4: what a caller loaded for itself is not followed by an older version from Redis")
    func ownLoad() async throws {
        let server = try await TestRedis.start()
        let row = CachedRow(Note(version: 4, text: "fourth"))
        try await share(row, in: server)
        row.set(Note(version: 5, text: "fifth"))
        try await server.withCache(configuration) { _, connection, _ in
            let cache = TieredCache(configuration: CacheConfiguration(lifetime: .seconds(100), memoryBytes: 0), redis: connection)
            // It does not run yet.
            #expect(try await cache.value(for: "a", load: row.read).value.text == "fifth")
            try await running(cache) { () async throws in
                #expect(try await cache.value(for: "a", load: row.read).value.text == "fifth")
            }
        }
    }

    @Test("C3: what another process loaded before a row was found gone, and stored in Redis after that, is not believed")
    func lateCopy() async throws {
        let server = try await TestRedis.start()
        let time = ManualTime()
        let row = CachedRow()
        try await server.withCache(configuration, time: time) { cache, _, _ in
            for (key, age, isBelieved) in [("a", 5_000, true), ("b", 20_000, false)] {
                row.set(Note(version: 1, text: "first"))
                _ = try await cache.value(for: key, load: row.read)
                try await until("it is in Redis") { try await server.command("EXISTS", key) == "1" }
                let payload = try await server.command("GET", key)
                let match = try #require(payload.firstMatch(of: /"lifetime":([0-9]+)/))
                let lifetime = try #require(Int(match.output.1))
                row.set(nil)
                await cache.forget(key)
                time.advance(by: .seconds(10))
                #expect(try await server.command("SET", key, payload, "PX", "\(lifetime - age)") == "OK")
                let found = try? await cache.value(for: key, load: row.read)
                #expect((found?.source == .redis) == isBelieved, "loaded \(age) ms ago")
            }
        }
    }

    @Test("C3: a row that a load does not find is deleted in Redis, though this process never had it")
    func goneUnseen() async throws {
        let server = try await TestRedis.start()
        let time = ManualTime()
        let row = CachedRow()
        try await share(row, in: server)
        row.set(nil)
        try await server.withCache(configuration, time: time) { cache, _, _ in
            try await refuse("eval", by: server)
            await #expect(throws: RequestProblem.notFound(what: "note")) { _ = try await cache.value(for: "a", load: row.read) }
            try await admit("eval", by: server, cache, time)
            await #expect(throws: RequestProblem.notFound(what: "note")) { _ = try await cache.value(for: "a", load: row.read) }
            try await until("it is deleted") {
                try await time.untilAsleep()
                time.advance(by: .milliseconds(250))
                return try await server.command("EXISTS", "a") == "0"
            }
        }
    }

    /// A clock that calls `atEachLook` whenever it is asked for the time, until that answers true.
    private final class WatchfulTime: TimeSource {
        let manual = ManualTime()
        private let look = Mutex<(@Sendable () -> Bool)?>(nil)

        func untilTrue(_ look: @escaping @Sendable () -> Bool) { self.look.withLock { $0 = look } }

        func now() -> MonotonicInstant {
            // Whoever looks may ask for the time itself.
            let look = look.withLock { look in
                defer { look = nil }
                return look
            }
            if let look, !look() { untilTrue(look) }
            return manual.now()
        }

        func wallNow() -> WallTime { manual.wallNow() }
        func sleep(until instant: MonotonicInstant) async throws { try await manual.sleep(until: instant) }
    }

    @Test("C3: a copy that comes to Redis after its row was found gone is deleted there")
    func goneOnTheWay() async throws {
        let server = try await TestRedis.start()
        let time = WatchfulTime()
        let row = CachedRow()
        try await server.withCache(configuration, time: time) { cache, _, _ in
            let isFoundGone = Mutex(false)
            // Between the landing and the copy's way to Redis: what `forget` does, whose DEL has been there first.
            time.untilTrue {
                guard cache.state.withLock({ $0.flights.count == 0 && $0.memory.entry(for: "a") != nil }) else { return false }
                cache.raiseBarrier(for: "a", inDoubt: false)
                isFoundGone.withLock { $0 = true }
                return true
            }
            _ = try await cache.value(for: "a", load: row.read)
            try await until("the copy was stored") { cache.statistics().operations[.set]?.count == 1 }
            #expect(isFoundGone.withLock { $0 })
            try await until("it is deleted again") { cache.statistics().operations[.delete]?.count == 1 }
            #expect(try await server.command("EXISTS", "a") == "0")
        }
    }

    @Test("C3: a row that one caller finds gone is not brought back by a slower one that loads for itself")
    func goneBesideOwnLoads() async throws {
        let time = ManualTime()
        let cache = TieredCache(configuration: configuration, redis: nil, time: time)
        let row = CachedRow()
        let held = HeldLoad(of: row)
        // It does not run: each caller loads for itself.
        async let slow = cache.value(for: "a", load: held.load)
        await held.untilRead()
        row.set(nil)
        time.advance(by: .milliseconds(1))
        await #expect(throws: RequestProblem.notFound(what: "note")) { _ = try await cache.value(for: "a", load: row.read) }
        held.release()
        _ = try await slow
        await #expect(throws: RequestProblem.notFound(what: "note")) { _ = try await cache.value(for: "a", load: row.read) }
    }

    @Test("C3: a row that a caller finds gone by a load of its own is not brought back by a flight that began before")
    func goneBesideFlight() async throws {
        let time = ManualTime()
        let cache = TieredCache(configuration: configuration, redis: nil, time: time)
        let row = CachedRow()
        let held = HeldLoad(of: row)
        let (asked, noteAsked) = AsyncStream.makeStream(of: Void.self)
        let (mayRead, letRead) = AsyncStream.makeStream(of: Void.self)
        let told = Counter()
        try await withThrowingTaskGroup(of: Void.self) { group in
            // The cache does not run yet: this caller loads for itself.
            group.addTask {
                await #expect(throws: RequestProblem.notFound(what: "note")) {
                    _ = try await cache.value(for: "a") {
                        noteAsked.finish()
                        for await _ in mayRead {}
                        return try await row.read()
                    }
                }
                told.add()
            }
            for await _ in asked {}
            try await running(cache) { () async throws in
                async let flying = cache.value(for: "a", load: held.load)
                await held.untilRead()
                row.set(nil)
                time.advance(by: .milliseconds(1))
                letRead.finish()
                try await until("it is told that there is none") { told.value == 1 }
                held.release()
                #expect(try await flying.value.text == "first")
                await #expect(throws: RequestProblem.notFound(what: "note")) { _ = try await cache.value(for: "a", load: row.read) }
            }
            try await group.waitForAll()
        }
    }

    @Test("C1: a doubt that Redis has stored stays there, though the key was suspect before")
    func doubtOfASuspect() async throws {
        let server = try await TestRedis.start()
        let time = ManualTime()
        try await server.withCache(configuration, time: time) { cache, _, _ in
            for key in ["a", "b"] { await cache.store(Note(version: 1), for: key, asked: time.now()) }
            try await refuse("del", by: server)
            for key in ["a", "b"] { await cache.forget(key) }
            #expect(cache.statistics().suspectKeys == 2)
            await cache.doubt("a")
            #expect(cache.statistics().suspectKeys == 1)
            try await admit("del", by: server, cache, time)
            try await until("the other suspect is deleted") { cache.statistics().suspectKeys == 0 }
            #expect(try await server.command("GET", "a").contains("doubt"))
            #expect(try await server.command("EXISTS", "b") == "0")
        }
    }

    @Test(
        "C6: a Redis that is down is not counted as slow, whatever the reason says",
        arguments: [
            (RedisError.down(reason: "no answer within 1 s: Connection timed out", since: .zero), CacheStatistics.Fallback.down),
            (.connectionLost("Connection timed out"), .down), (.timeout(after: .zero), .slow), (.tooManyPending(limit: 1), .slow),
        ])
    func fallback(error: RedisError, fallback: CacheStatistics.Fallback) {
        #expect(CacheStatistics.Fallback(error) == fallback)
    }
}
