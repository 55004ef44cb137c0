@testable import AppCore
import Logging
@testable import Probes
import TestServers
import Testing
import Vitals

@testable import healthd

/// Whether a new connection can be had is known, and said, before the old ones are gone.
@Suite("New connections")
struct NewConnectionsTests {
    private static let denied = PostgresError.connectFailed("FATAL: password authentication failed for user \"app\"", sqlState: "28P01")
    private static let full = PostgresError.connectFailed("FATAL: too many connections for role \"app\"", sqlState: "53300")

    private func at(_ seconds: Int) -> MonotonicInstant { MonotonicInstant(nanoseconds: Int64(seconds + 100) * 1_000_000_000) }

    private func attempt(_ seconds: Int, _ error: PostgresError? = nil, inRow: Int = 2) -> NewestConnect {
        NewestConnect(at: at(seconds), error: error, failuresInRow: error == nil ? 0 : inRow)
    }

    private func pool(_ count: Int, of max: Int = 4, unavailable: Bool = false) -> PoolStatistics {
        var pool = HTTPSamples.pool(leased: 0, max: max, waiting: 0)
        pool.idle = count
        if unavailable { pool.unavailable = ("refused", .seconds(1)) }
        return pool
    }

    @Test("D11: who tried last knows: one failure says nothing while others stand, two in a row do, and one is enough when none stands")
    func lastAttempt() {
        #expect(NewConnections.refusal([], pool(2)) == nil)
        #expect(NewConnections.refusal([attempt(1)], pool(2)) == nil)
        #expect(NewConnections.refusal([attempt(1, Self.denied, inRow: 1)], pool(2)) == nil)
        #expect(NewConnections.refusal([attempt(1, Self.denied)], pool(2))?.othersStand == true)
        let unanswered = NewestConnect(at: at(1), error: .connectTimedOut("db", after: .seconds(5)), failuresInRow: 1, isUnanswered: true)
        #expect(NewConnections.refusal([unanswered], pool(2))?.othersStand == true, "no other attempt begins until it ends")
        #expect(NewConnections.refusal([attempt(1, Self.denied, inRow: 1)], pool(0, unavailable: true))?.othersStand == false)
        // The pool was refused, and the watcher let in after it; and the other way round.
        #expect(NewConnections.refusal([attempt(1, Self.denied), attempt(2)], pool(0, unavailable: true)) == nil)
        #expect(NewConnections.refusal([attempt(2, Self.denied), attempt(1)], pool(2)) != nil)
    }

    @Test("D11: a server that is full is no trouble for a pool that has all it may have")
    func fullAndSatisfied() {
        #expect(NewConnections.refusal([attempt(1, Self.full)], pool(4)) == nil)
        #expect(NewConnections.refusal([attempt(1, Self.full)], pool(3)) != nil)
        #expect(NewConnections.refusal([attempt(1, Self.denied)], pool(4)) != nil)
    }

    @Test("D11: a server that is there and takes nobody new, whatever for, is not down while others stand", arguments: [
        ("53300", true), ("28P01", true), ("55000", true), ("42704", true), ("57P03", false), ("57P01", false),
    ])
    func turnedAway(sqlState: String, isTurnedAway: Bool) {
        let error = PostgresError.connectFailed("FATAL", sqlState: sqlState)
        #expect(NewConnections.isTurnedAway(error, beside: pool(2)) == isTurnedAway)
        #expect(!NewConnections.isTurnedAway(error, beside: pool(0)))
    }

    /// A server with a pool that stands, and the watcher with its two probes.
    private struct Scene {
        let server: TestPostgres
        let pool: Pool
        let look: Probe
        let proof: Probe

        /// - Parameter prepare: run before the pool connects.
        static func play(
            german: Bool = false, prepare: (TestPostgres) async throws -> Void = { _ in }, _ body: (Scene) async throws -> Void
        ) async throws {
            let server = try await TestPostgres.start(german: german)
            let loop = try EventLoop()
            defer { loop.shutdown() }
            let endpoint = PostgresEndpoint(keywords: ["host": server.socketDirectory, "user": "app", "dbname": "app"])
            let pool = Pool(PoolConfiguration(max: 3, min: 2), endpoint: endpoint, loop: loop, logger: .quiet)
            let watcher = DedicatedConnection(endpoint: endpoint, applicationName: "healthd probe", loop: loop)
            defer { watcher.close() }
            let scene = Scene(
                server: server, pool: pool,
                look: PostgresWatch.probe(
                    watcher, interval: .seconds(1), timeout: .seconds(20), time: SystemTime(), pool: { pool.statistics() }),
                proof: NewConnections.probe(
                    watcher, interval: .nanoseconds(1), timeout: .seconds(20), time: SystemTime(), pool: { pool.statistics() }))
            try await prepare(server)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await pool.run() }
                try await until("the pool stands") { pool.statistics().idle == 2 }
                try await body(scene)
                group.cancelAll()
            }
        }

        /// What the look fails with.
        func failure() async throws -> ProbeFailure? {
            do {
                _ = try await look.measure()
                return nil
            } catch let failure as ProbeFailure {
                return failure
            }
        }
    }

    @Test("D11: the watcher finds out by itself that new connections are refused; critical when the pool is empty; and all is well again")
    func refused() async throws {
        try await Scene.play { scene in
            let pool = scene.pool
            #expect(try await scene.look.measure().complaint == nil)
            #expect(try await scene.proof.measure().summary == "opened")

            try await scene.server.superuserScript("ALTER ROLE app NOLOGIN")
            #expect(try await scene.look.measure().complaint == nil, "nobody has tried yet")
            for _ in 0..<2 {
                await #expect(throws: ProbeFailure.self) { try await scene.proof.measure() }
            }
            let complaint = try #require(try await scene.look.measure().complaint)
            #expect(complaint.hasPrefix("takes no new connections: locked out: ") && complaint.contains("not permitted to log in"), "\(complaint)")

            try await scene.server.superuserScript("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'healthd'")
            try await until("the pool is empty") { pool.statistics().unavailable != nil }
            let failure = try #require(try await scene.failure(), "a look was well though nobody can get a connection")
            #expect(failure.outcome == .auth && failure.message.contains("not permitted to log in"), "\(failure)")
            let reading = PoolReading(time: SystemTime()) { pool.statistics() }
            let pooled = try await PoolWatch.probe(reading, interval: .seconds(1), timeout: .seconds(1), time: SystemTime()).measure()
            #expect(pooled.values["saturation"] == nil && pooled.values["unavailable"] ?? 0 > 0)
            #expect(pooled.summary?.contains("not permitted to log in") == true)

            try await scene.server.superuserScript("ALTER ROLE app LOGIN")
            try await until("all is well") {
                guard let found = try? await scene.look.measure() else { return false }
                return found.complaint == nil && pool.statistics().unavailable == nil
            }
        }
    }

    @Test("D15: a role's limit that leaves the watcher out is told as full, and is not an outage", arguments: [false, true])
    func limited(german: Bool) async throws {
        try await Scene.play(german: german) { server in
            try await server.superuserScript("ALTER ROLE app CONNECTION LIMIT 2")
        } _: { scene in
            let complaint = try #require(try await scene.look.measure().complaint)
            #expect(complaint.hasPrefix("takes no new connections: full: ") && complaint.contains("app"), "\(complaint)")
            // Nobody is in: then it is one.
            try await scene.server.superuserScript(
                "ALTER ROLE app CONNECTION LIMIT 0; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'healthd'")
            try await until("the pool is empty") { scene.pool.statistics().idle == 0 }
            #expect(try await scene.failure()?.outcome == .full)
        }
    }

    @Test("D11: the pool's own rule is critical and is no page: postgres-down tells of the cause")
    func onePage() {
        let rules = Rule.standard
        #expect(rules.told.map(\.name) == rules.map(\.name).filter { $0 != "pool-unavailable" })
        for rule in rules { #expect(rule.toldBy.map { name in rules.told.contains { $0.name == name } } ?? true) }
    }
}
