import Logging
import Synchronization
import TestServers
import Testing
import Vitals

@testable import AppCore

private struct Note: CacheableValue, Hashable {
    var version = 1
}

/// Whose time a load takes, and on whose behalf it runs.
@Suite("The cache's deadlines and classes")
struct CacheDeadlineTests {
    /// A load that ends when the test says so.
    private final class SlowLoad: Sendable {
        private let (ends, end) = AsyncStream.makeStream(of: Void.self)
        private let (starts, start) = AsyncStream.makeStream(of: Void.self)

        @Sendable func callAsFunction() async throws -> Note {
            start.finish()
            for await _ in ends {}
            return Note()
        }

        func begun() async { for await _ in starts {} }
        func finish() { end.finish() }
    }

    @Test(arguments: [(WorkClass.critical, WorkClass.critical), (.interactive, .interactive), (.background, .interactive)])
    func `a load that others may wait for is at least interactive`(caller: WorkClass, load: WorkClass) async throws {
        let cache = TieredCache(redis: nil, time: ManualTime())
        let seen = Mutex<[WorkClass]>([])
        try await running(cache) {
            _ = try await Work.$workClass.withValue(caller) {
                try await cache.value(for: "a", load: {
                    seen.withLock { $0.append(Work.workClass) }
                    return Note()
                })
            }
        }
        #expect(seen.withLock { $0 } == [load])
    }

    @Test func `a caller leaves the flight at its own deadline, and the others get the value`() async throws {
        let time = ManualTime()
        let cache = TieredCache(redis: nil, time: time)
        let load = SlowLoad()
        try await running(cache) {
            async let patient = cache.value(for: "a", load: { try await load() })
            await load.begun()
            async let hasty = Deadline.$current.withValue(Deadline(time.now() + .milliseconds(100))) {
                try await cache.value(for: "a", load: { try await load() })
            }
            try await time.untilAsleep()
            time.advance(by: .milliseconds(100))
            do {
                _ = try await hasty
                Issue.record("the hasty caller got a value")
            } catch {
                #expect(error as? CacheTimeout == CacheTimeout(waited: .milliseconds(100)))
            }
            load.finish()
            let told = try await patient
            #expect(told.source == .loaded)
        }
    }

    @Test func `nothing is loaded for a caller who is past its deadline`() async throws {
        let time = ManualTime()
        let cache = TieredCache(redis: nil, time: time)
        try await running(cache) {
            let before = cache.statistics().loads
            await #expect(throws: CacheTimeout(waited: .zero)) {
                try await Deadline.$current.withValue(Deadline(time.now())) { try await cache.value(for: "a", load: { Note() }) }
            }
            #expect(cache.statistics().loads == before)
        }
    }

    @Test func `a cancelled caller with a deadline is told that it was cancelled`() async throws {
        let time = ManualTime()
        let cache = TieredCache(redis: nil, time: time)
        let load = SlowLoad()
        try await running(cache) {
            await withTaskGroup(of: Bool.self) { group in
                group.addTask {
                    do {
                        _ = try await Deadline.$current.withValue(Deadline(time.now() + .seconds(1))) {
                            try await cache.value(for: "a", load: { try await load() })
                        }
                        return false
                    } catch {
                        return error is CancellationError
                    }
                }
                await load.begun()
                group.cancelAll()
                #expect(await group.next() == true)
            }
            load.finish()
        }
    }

    @Test func `a load has the cache's budget, not the caller's`() async throws {
        let time = ManualTime()
        let cache = TieredCache(configuration: CacheConfiguration(load: .seconds(2)), redis: nil, time: time)
        let seen = Mutex<Deadline?>(nil)
        try await running(cache) {
            _ = try await Deadline.$current.withValue(Deadline(time.now() + .seconds(30))) {
                try await cache.value(for: "a") {
                    seen.withLock { $0 = Deadline.current }
                    return Note()
                }
            }
            #expect(seen.withLock { $0 } == Deadline(time.now() + .seconds(2)))
        }
    }

    @Test func `a load runs on behalf of the caller that began it; a refresh is background`() async throws {
        let time = ManualTime()
        let cache = TieredCache(configuration: CacheConfiguration(lifetime: .seconds(100)), redis: nil, time: time)
        let seen = Mutex<[String]>([])
        let (loads, loaded) = AsyncStream.makeStream(of: Void.self)
        let load: @Sendable () async throws -> Note = {
            seen.withLock { $0.append("\(Work.workClass) \(Work.detail ?? "-")") }
            loaded.yield()
            return Note()
        }
        try await running(cache) {
            var each = loads.makeAsyncIterator()
            try await Work.$detail.withValue("GET /a") {
                try await Work.$workClass.withValue(.critical) {
                    _ = try await cache.value(for: "a", load: load)
                    await each.next()
                    // Past four fifths of the longest lifetime drawn, short of the shortest.
                    time.advance(by: .seconds(89))
                    #expect(try await cache.value(for: "a", load: load).source == .memory)
                    await each.next()
                }
            }
            #expect(seen.withLock { $0 } == ["critical GET /a", "background GET /a"])
        }
    }

    @Test func `a load on a full pool ends at the cache's budget`() async throws {
        let server = try await TestPostgres.start()
        try await TestApplication.with(server) { application in
            let workspace = try await application.workspaces.create(NewWorkspace(name: "One", ticker: "ACME"))
            // The pool itself would let it wait for a minute.
            let cache = TieredCache(configuration: CacheConfiguration(load: .milliseconds(300)), redis: nil)
            let workspaces = WorkspaceStore(database: application.database, cache: cache)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await cache.run() }
                let (over, end) = AsyncStream.makeStream(of: Void.self)
                let max = application.database.pool.configuration.max
                for _ in 0..<max {
                    group.addTask { try await application.database.withConnection(for: "hold") { _ in for await _ in over {} } }
                }
                try await application.database.untilLeased(max)
                try await until("the cache runs") { cache.isRunning }
                let ended = try await judged(below: .seconds(1), tries: 1) {
                    try await timed {
                        do {
                            _ = try await workspaces.find(workspace.id)
                            Issue.record("there was a connection")
                        } catch PoolError.saturated {
                        }
                    }
                }
                #expect(ended.holds, "\(ended)")
                end.finish()
                #expect(try await workspaces.find(workspace.id).name == "One")
                group.cancelAll()
            }
        }
    }
}
