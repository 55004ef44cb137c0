import AppCore
import Logging
import Probes
import TestServers
import Testing
import Vitals

@testable import healthd

/// What the look at Redis makes of what it may not see, and of what the cache meets.
@Suite struct RedisWatchTests {
    private func watching(
        _ server: TestRedis, user: String? = nil, _ body: @Sendable (Probe, RedisConnection) async throws -> Void
    ) async throws {
        let loop = try EventLoop()
        defer { loop.shutdown() }
        let endpoint = RedisEndpoint(address: .unix(path: server.socketPath), user: user, password: user.map { _ in Secret("pw") })
        let connection = RedisConnection(endpoint, loop: loop, logger: .quiet)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await connection.run() }
            try await until("Redis is up") { if case .up = connection.status { true } else { false } }
            let probe = RedisWatch.probe(connection, interval: .seconds(1), timeout: .seconds(10), time: SystemTime())
            try await body(probe, connection)
            group.cancelAll()
        }
    }

    @Test(
        "C5: a user who may not look sees nothing, and nothing is down",
        arguments: [["-@dangerous", "-@admin"], ["-info", "-ping"], ["-@all", "+get", "+eval"]])
    func acl(rules: [String]) async throws {
        let server = try await TestRedis.start()
        _ = try await run("redis-cli", ["-s", server.socketPath, "ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all"] + rules)
        try await watching(server, user: "app") { probe, _ in
            let found = try await probe.measure()
            #expect(found.values.isEmpty && found.summary == "it answers; INFO is not for this user")
        }
    }

    @Test func `what Redis says of itself stands under its own name, and no limit is none`() async throws {
        let server = try await TestRedis.start()
        try await watching(server) { probe, _ in
            _ = try await server.command("CONFIG", "SET", "maxclients", "123")
            var found = try await probe.measure().values
            #expect(found["clients_max"] == 123 && found["clients_blocked"] == 0 && found["clients_connected"].map { $0 >= 1 } == true, "\(found)")
            #expect(found["memory_limit_bytes"] == nil && found["memory_used_bytes"].map { $0 > 100_000 } == true, "\(found)")
            #expect(found["rejected_connections"] == 0 && found["evicted_keys"] == 0, "\(found)")
            _ = try await server.command("CONFIG", "SET", "maxmemory", "104857600")
            found = try await probe.measure().values
            #expect(found["memory_limit_bytes"] == 104_857_600)
        }
    }

    @Test("C5: a Redis that answers nothing else than a refusal is told of with what to do")
    func readOnly() async throws {
        let server = try await TestRedis.start()
        try await watching(server) { probe, connection in
            #expect(try await probe.measure().facts["role"] == "master")
            _ = try await server.command("REPLICAOF", "127.0.0.1", "1")
            await #expect {
                _ = try await probe.measure()
            } throws: { error in
                "\(error)".hasPrefix("failing: READONLY") && "\(error)".contains("does the address lead to the primary?")
            }
            #expect(connection.connects == 1)
            _ = try await server.command("REPLICAOF", "NO", "ONE")
            // Over a new link: what is behind the address may be another server.
            try await until("it is well again") { (try? await probe.measure())?.facts["role"] == "master" }
            #expect(connection.connects == 2)
        }
    }

    @Test("C6: what keeps the cache from a Redis that answers is told when it lasts")
    func obstacles() throws {
        let start = MonotonicInstant(nanoseconds: 1_000_000_000_000)
        let obstacle = RedisObstacle(kind: .full, reason: "the cache's set is refused: OOM", since: start - .seconds(60))
        let judge = RedisWatch.Judge()
        #expect(judge.lasting(nil, at: start) == nil)
        // It began long ago, and Redis answers since now: its own end may be a matter of moments.
        #expect(judge.lasting(obstacle, at: start + .seconds(4)) == nil)
        #expect(judge.lasting(obstacle, at: start + RedisWatch.patience) == obstacle)
        judge.doesNotAnswer()
        #expect(judge.lasting(obstacle, at: start + .seconds(10)) == nil)
        #expect(judge.lasting(nil, at: start + .seconds(20)) == nil)
    }

    @Test func `an obstacle has the words of its kind`() {
        let obstacle = RedisObstacle(kind: .full, reason: "OOM; raise maxmemory", since: .now())
        #expect("\(RedisWatch.failure(obstacle))" == "full: OOM; raise maxmemory")
    }
}
