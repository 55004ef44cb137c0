import AppCore
import Testing
import Vitals

@testable import healthd

/// A setting that follows another one, and one that changes behind the same words.
@Suite struct `Settings that hang together` {
    @Test(arguments: [(1, 1), (4, 4), (8, 8), (9, 8), (200, 8)])
    func `one workspace has as many tasks as there may be, and eight at most`(concurrency: Int, perWorkspace: Int) throws {
        #expect(try decode("tasks: { concurrency: \(concurrency) }").tasks == .init(concurrency: concurrency, perWorkspace: perWorkspace))
    }

    @Test(arguments: [("100ms", Duration.milliseconds(100)), ("500ms", .milliseconds(500)), ("1m", .milliseconds(500))])
    func `a look has as much time as lies between two of them, and half a second at most`(interval: String, timeout: Duration) throws {
        #expect(try decode("probes: { interval: \(interval) }").probes.timeout == timeout)
    }

    @Test func `a small pool keeps no more than it has`() throws {
        #expect(try decode("database: { pool: { max: 1 } }").pool.min == 1)
    }

    @Test func `a new password of Redis is a change, though it looks like the old one`() throws {
        let (before, after) = (try decode(nil, ["REDIS_URL": "redis://:one@c"]), try decode(nil, ["REDIS_URL": "redis://:two@c"]))
        #expect(before.settings == after.settings)
        #expect(before.difference(to: after) == ConfigurationDifference(live: [], needsRestart: ["cache.url"]))
    }
}
