@testable import AppCore
import HTTPTypes
import Hummingbird
import Logging
import NIOHTTP1
import Synchronization
import TestServers
import Testing
import Vitals

@testable import healthd

/// Reads while the database has no room, is away, or does not answer.
@Suite struct `The degrade ladder` {
    static let picture = PoolPicture(leased: 2, idle: 0, connecting: 0, waiting: 3, max: 2)

    static let shortages: [(any Error, String)] = [
        (PoolError.saturated(picture, waited: .zero, retryAfter: .seconds(1), reason: .tooLate), "pool_saturated"),
        (PoolError.databaseUnavailable(cause: "connection refused", since: .seconds(4), nextAttemptIn: .seconds(1)), "database_unavailable"),
        (PostgresError.deadlineExceeded(after: .seconds(2)), "deadline_exceeded"),
        (PostgresError.connectionLost("gone"), "database_unavailable"),
        (PostgresError.server(ServerError(sqlState: "57014", message: "canceling statement due to statement timeout")), "database_busy"),
        (PostgresError.server(ServerError(sqlState: "53300", message: "too many connections")), "database_unavailable"),
        (CacheTimeout(waited: .seconds(1)), "deadline_exceeded"),
    ]

    /// A ladder over a database that does what the test says.
    private struct Scene: Sendable {
        let time = ManualTime()
        let statistics = HTTPStatistics()
        let ladder: DegradeLadder
        let newest = Held<Int?>(nil)

        init() {
            ladder = DegradeLadder(lastGood: LastGood(stale: .seconds(60), time: time), statistics: statistics)
        }

        func read(_ read: @Sendable () throws -> [String: Int]) async throws -> Response {
            let newest = newest
            return try await ladder.answer("workspace_overview", about: .init(key: "1", writes: "1") { newest.value }) {
                let value = try read()
                return JSONDocument(try Response.jsonBytes(value), version: value["version"])
            }
        }

        func count(_ rung: Rung) -> Int? { statistics.snapshot().rungs[.init(handler: "workspace_overview", rung: rung)] }
    }

    private final class Held<Value: Sendable>: Sendable {
        private let mutex: Mutex<Value>

        init(_ value: Value) { mutex = Mutex(value) }

        var value: Value { mutex.withLock { $0 } }
        func set(_ value: Value) { mutex.withLock { $0 = value } }
    }

    private func text(_ response: Response) async throws -> String {
        let collector = BodyCollector()
        try await response.body.write(collector)
        return collector.text
    }

    @Test(arguments: shortages)
    func `whatever the shortage, the last good answer is told with its age`(error: any Error, code: String) async throws {
        let scene = Scene()
        let fresh = try await scene.read { ["version": 1] }
        #expect(fresh.headers[.age] == nil && fresh.headers[.warning] == nil)
        scene.time.advance(by: .seconds(7))
        let stale = try await scene.read { throw error }
        #expect(stale.status == .ok)
        #expect(stale.headers[.age] == "7")
        #expect(stale.headers[.warning] == "110 - \"Response is Stale\"")
        #expect(stale.headers[.contentType] == "application/json")
        #expect(try await text(stale) == text(fresh))
        #expect(scene.count(.fresh) == 1 && scene.count(.stale) == 1 && scene.count(.refused) == 0 && scene.count(.cached) == 0)
    }

    @Test(arguments: shortages)
    func `without one it is 503 with a time to come back`(error: any Error, code: String) async throws {
        let scene = Scene()
        do {
            _ = try await scene.read { throw error }
            Issue.record("there was an answer")
        } catch let answer as ErrorAnswer {
            #expect(answer.status == .serviceUnavailable && answer.code == code)
            #expect(answer.response.headers[.retryAfter] == "1")
        }
        #expect(scene.count(.refused) == 1 && scene.count(.stale) == 0)
    }

    @Test(arguments: [
        RequestProblem.invalid(field: "limit", reason: "is 0"), PoolError.shuttingDown, PostgresError.decoding(column: "a", reason: "b"),
        PostgresError.server(ServerError(sqlState: "42P01", message: "relation \"x\" does not exist")), CancellationError(),
    ] as [any Error])
    func `what is no shortage is told as it is`(error: any Error) async throws {
        let scene = Scene()
        _ = try await scene.read { ["version": 1] }
        do {
            _ = try await scene.read { throw error }
            Issue.record("there was an answer")
        } catch let told {
            #expect(String(reflecting: told) == String(reflecting: error))
        }
        #expect(scene.count(.fresh) == 1 && scene.count(.refused) == 0 && scene.count(.stale) == 0)
    }

    @Test func `an answer past the bound is not told any more`() async throws {
        let scene = Scene()
        _ = try await scene.read { ["version": 1] }
        let shortage: @Sendable () throws -> [String: Int] = { throw CacheTimeout(waited: .zero) }
        scene.time.advance(by: .seconds(59))
        #expect(try await scene.read(shortage).headers[.age] == "59")
        scene.time.advance(by: .seconds(1))
        await #expect(throws: ErrorAnswer.self) { try await scene.read(shortage) }
        #expect(scene.count(.fresh) == 1 && scene.count(.stale) == 1 && scene.count(.refused) == 1)
    }

    @Test func `after a shortage the database is left alone for a moment, then asked again`() async throws {
        let scene = Scene()
        _ = try await scene.read { ["version": 1] }
        _ = try await scene.read { throw CacheTimeout(waited: .zero) }
        _ = try await scene.read { Issue.record("it was asked"); return [:] }
        #expect(scene.count(.stale) == 2)
        scene.time.advance(by: LastGood.rest)
        #expect(try await text(scene.read { ["version": 2] }) == #"{"version":2}"#)
        #expect(scene.count(.fresh) == 2 && scene.count(.stale) == 2)
    }

    @Test(arguments: shortages)
    func `the impatience of one client keeps no other from the database`(error: any Error, code: String) async throws {
        let scene = Scene()
        _ = try await scene.read { ["version": 1] }
        _ = try await RequestTimeout.$shortensRoute.withValue(true) { try await scene.read { throw error } }
        let asked = Held(false)
        _ = try await scene.read {
            asked.set(true)
            return ["version": 1]
        }
        #expect(asked.value == (code != "database_unavailable"))
    }

    @Test func `nothing older than a write, or than a version that was seen, is told`() async throws {
        let scene = Scene()
        let shortage: @Sendable () throws -> [String: Int] = { throw CacheTimeout(waited: .zero) }
        _ = try await scene.read { ["version": 4] }
        scene.newest.set(4)
        #expect(try await text(scene.read(shortage)) == #"{"version":4}"#)
        scene.newest.set(5)
        await #expect(throws: ErrorAnswer.self) { try await scene.read(shortage) }

        scene.time.advance(by: .seconds(1))
        _ = try await scene.read { ["version": 5] }
        // Also when nobody knows whether it took effect.
        _ = try? await scene.ladder.writing(about: "1") { throw PostgresError.connectionLost("gone") }
        await #expect(throws: ErrorAnswer.self) { try await scene.read(shortage) }
        #expect(scene.count(.fresh) == 2 && scene.count(.stale) == 1 && scene.count(.refused) == 2)
    }

    @Test func `what was found to be gone is not told`() async throws {
        let scene = Scene()
        _ = try await scene.read { ["version": 4] }
        _ = try? await scene.read { throw RequestProblem.notFound(what: "workspace 1") }
        await #expect(throws: ErrorAnswer.self) { try await scene.read { throw CacheTimeout(waited: .zero) } }
        // By a write, too. One that was refused for another reason changed nothing.
        _ = try await scene.read { ["version": 4] }
        _ = try? await scene.ladder.writing(about: "1") { throw RequestProblem.invalid(field: "name", reason: "is empty") }
        _ = try await scene.read { throw PostgresError.connectionLost("gone") }
        _ = try? await scene.ladder.writing(about: "1") { throw RequestProblem.notFound(what: "workspace 1") }
        await #expect(throws: ErrorAnswer.self) { try await scene.read { throw CacheTimeout(waited: .zero) } }
    }

    // MARK: Times

    @Test(arguments: [
        (Duration.zero, 1...2), (.milliseconds(300), 1...2), (.seconds(1), 1...2), (.milliseconds(3_100), 4...5), (.seconds(8), 8...10),
        (.seconds(100), 100...125), (.seconds(1e9), 86_400...108_000),
    ])
    func `Retry-After is the wait, rounded up, and up to a quarter more, a second at least`(wait: Duration, seconds: ClosedRange<Int>) {
        var generator = SplitMix64(seed: 1)
        let drawn = Set((0..<2_000).map { _ in RetryAfter.seconds(for: wait, using: &generator) })
        if seconds.count <= 26 {
            #expect(drawn == Set(seconds))
        } else {
            // 2,000 draws of 21,601 values: as many different ones, from end to end.
            #expect(drawn.isSubset(of: seconds) && drawn.count > 1_800)
            let tenth = seconds.count / 10
            #expect(drawn.contains { $0 < seconds.lowerBound + tenth } && drawn.contains { $0 > seconds.upperBound - tenth })
        }
    }

    @Test func `header and body tell the same jittered time`() async throws {
        var generator = SplitMix64(seed: 3)
        let error = PoolError.saturated(Self.picture, waited: .zero, retryAfter: .seconds(40))
        for _ in 0..<20 {
            let answer = ErrorAnswer(error).jittered(using: &generator)
            let body = try #require(JSONValue(text: String(decoding: answer.body, as: UTF8.self)))
            #expect(body["retryAfter"]?.intValue.map { "\($0)" } == answer.response.headers[.retryAfter])
        }
    }
}
