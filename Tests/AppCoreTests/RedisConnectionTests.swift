import Logging
import TestServers
import Testing
import Vitals

@testable import AppCore

/// The Redis connection against a real server.
@Suite("RedisConnection")
struct RedisConnectionTests {
    private func withConnection(_ server: TestRedis, deadline: Duration = .seconds(5), _ body: @Sendable (RedisConnection) async throws -> Void) async throws {
        let loop = try EventLoop()
        defer { loop.shutdown() }
        let endpoint = RedisEndpoint(address: .unix(path: server.socketPath))
        let connection = RedisConnection(endpoint, deadline: deadline, loop: loop, logger: Logger(label: "test"))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await connection.run() }
            try await body(connection)
            group.cancelAll()
        }
    }

    private func untilUp(_ connection: RedisConnection) async throws {
        try await until("Redis is up") { connection.isUp }
    }

    private func untilDown(_ connection: RedisConnection) async throws {
        try await until("Redis is known to be away") { !connection.isUp }
    }

    private func downSince(_ connection: RedisConnection) -> MonotonicInstant? {
        if case .down(_, let since) = connection.status { since } else { nil }
    }

    @Test func `values come back byte for byte`() async throws {
        let server = try await TestRedis.start()
        try await withConnection(server) { connection in
            try await untilUp(connection)
            let awkward: [UInt8] = [0, 13, 10, 36, 255, 0, 42]
            let exchanges: [([RedisArgument], RedisReply)] = [
                (["SET", "key", RedisArgument(awkward)], .status("OK")),
                (["GET", "key"], .string(awkward)),
                (["GET", "none"], .null),
                (["INCR", "n"], .integer(1)),
                (["MGET", "n", "none"], .array([.string([49]), .null])),
            ]
            for (command, expected) in exchanges {
                let reply = try await connection.command(command)
                #expect(reply == expected)
            }
            await #expect(throws: RedisError.self) { _ = try await connection.command(["LPUSH", "n", "x"]) }
            // An error answer is an answer: the connection stands.
            #expect(connection.connects == 1)
        }
    }

    @Test func `of a name with several addresses the one that answers is found`() async throws {
        // Redis listens on 127.0.0.1 alone; `localhost` is ::1 as well, and first, on most machines.
        let server = try await TestRedis.start(tcp: true, password: "secret")
        let loop = try EventLoop()
        defer { loop.shutdown() }
        let endpoint = try RedisEndpoint(url: "redis://default:secret@localhost:\(try #require(server.tcpPort))/2")
        let connection = RedisConnection(endpoint, deadline: .seconds(5), loop: loop, logger: Logger(label: "test"))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await connection.run() }
            try await untilUp(connection)
            group.cancelAll()
        }
    }

    @Test func `pipelined commands of many callers are answered in order`() async throws {
        let server = try await TestRedis.start()
        try await withConnection(server) { connection in
            try await untilUp(connection)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<500 {
                    group.addTask {
                        let reply = try await connection.command(["ECHO", "\(number)"], until: Deadline(.now() + .seconds(30)))
                        #expect(reply.text == "\(number)")
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test func `callers that leave before their reply has come take nobody else's`() async throws {
        let server = try await TestRedis.start()
        try await withConnection(server, deadline: .seconds(60)) { connection in
            try await untilUp(connection)
            server.freeze()
            defer { server.thaw() }
            let asked = Counter()
            @Sendable func echo(_ number: Int) async throws -> String? {
                asked.add()
                return try await connection.command(["ECHO", "\(number)"], until: Deadline(.now() + .seconds(30))).text
            }
            try await withThrowingTaskGroup(of: Void.self) { staying in
                try await withThrowingTaskGroup(of: Void.self) { leaving in
                    for number in 0..<100 {
                        leaving.addTask { _ = try? await echo(-number) }
                        staying.addTask {
                            let reply = try await echo(number)
                            #expect(reply == "\(number)")
                        }
                    }
                    try await until("all have asked") { asked.value == 200 }
                    leaving.cancelAll()
                    try await leaving.waitForAll()
                }
                server.thaw()
                try await staying.waitForAll()
            }
        }
    }

    @Test func `a frozen server costs one deadline, then nothing, and its return is noticed`() async throws {
        let server = try await TestRedis.start()
        try await withConnection(server, deadline: .milliseconds(50)) { connection in
            try await untilUp(connection)
            server.freeze()
            let first = try await judged(below: .milliseconds(500), tries: 1) {
                await timed { await #expect(throws: RedisError.self) { _ = try await connection.command(["PING"]) } }
            }
            #expect(first.holds, "\(first)")
            try await untilDown(connection)
            let second = try await judged(below: .milliseconds(10)) {
                try await timed {
                    do {
                        _ = try await connection.command(["PING"])
                        Issue.record("a frozen server answered")
                    } catch RedisError.down {}
                }
            }
            #expect(second.holds, "\(second)")
            server.thaw()
            try await untilUp(connection)
            let reply = try await connection.command(["PING"], until: Deadline(.now() + .seconds(30)))
            #expect(reply == .status("PONG"))
        }
    }

    @Test func `a command has its deadline though the timer was set for an earlier one that was answered`() async throws {
        let server = try await TestRedis.start()
        try await withConnection(server) { connection in
            try await untilUp(connection)
            _ = try await connection.command(["PING"], until: Deadline(.now() + .seconds(1)))
            server.freeze()
            defer { server.thaw() }
            let ended = Counter()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    _ = try? await connection.command(["PING"], until: Deadline(.now() + .milliseconds(1_500)))
                    ended.add()
                }
                try await until("the second is told") { ended.value > 0 }
            }
        }
    }

    @Test func `a stopped server is noticed without a command`() async throws {
        let server = try await TestRedis.start()
        try await withConnection(server) { connection in
            try await untilUp(connection)
            try await server.stop()
            try await untilDown(connection)
            try await server.startAgain()
            try await untilUp(connection)
        }
    }

    @Test func `down for another reason than at first is told once more, and down since the same moment`() async throws {
        let server = try await TestRedis.start()
        let log = LogLines()
        let loop = try EventLoop()
        defer { loop.shutdown() }
        let connection = RedisConnection(RedisEndpoint(address: .unix(path: server.socketPath)), deadline: .seconds(5), loop: loop, logger: log.logger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await connection.run() }
            try await untilUp(connection)
            _ = try await connection.command(["CONFIG", "SET", "requirepass", "secret"])
            server.freeze()
            // One that is out of time before it is sent says nothing of the server.
            try await until("it is known to be away") {
                _ = try? await connection.command(["PING"], until: Deadline(.now() + .milliseconds(50)))
                return !connection.isUp
            }
            let since = try #require(downSince(connection))
            server.thaw()
            try await until("the password is missed") { connection.status.reason?.contains("NOAUTH") == true }
            #expect(downSince(connection) == since && connection.status.reason?.contains(server.socketPath) == true)
            // The line follows the status.
            try await until("it is told once more") { log.all.contains { $0.contains("redis is unavailable") && $0.contains("NOAUTH") } }
            #expect(log.all.count { $0.contains("redis is unavailable") } == 2, "\(log.all)")
            group.cancelAll()
        }
    }

    @Test func `a connection that Redis closes because it has nothing to do is made anew, and that is no news`() async throws {
        let server = try await TestRedis.start(options: ["--timeout", "1"])
        let log = LogLines()
        let loop = try EventLoop()
        defer { loop.shutdown() }
        let connection = RedisConnection(RedisEndpoint(address: .unix(path: server.socketPath)), deadline: .seconds(5), loop: loop, logger: log.logger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await connection.run() }
            try await until("it was closed twice") { connection.connects >= 3 }
            #expect(log.all == [])
            // One that cannot be made anew is.
            try await server.stop()
            try await until("it is told") { log.all.contains { $0.hasPrefix("warning redis is unavailable") } }
            try await server.startAgain()
            try await until("so is the end") { log.all.contains { $0.hasPrefix("info redis is available again") } }
            #expect(log.all.count == 2, "\(log.all)")
            group.cancelAll()
        }
    }

    @Test(arguments: [(1, 50), (10, 500), (40, 2_000), (400, 2_000)])
    func `reconnects after min(retries × 50, 2000) ms`(retries: Int, milliseconds: Int) {
        #expect(RedisConnection.delay(retries: retries, jitter: 1) == .milliseconds(milliseconds))
    }

    /// A Redis that does not let us in: where, what it does, and which words say so.
    @Test func `whoever cannot connect is told why, on what and what to do`() async throws {
        let server = try await TestRedis.start(tcp: true)
        let locked = try await TestRedis.start(tcp: true, password: "hunter2")
        let here = RedisEndpoint.Address.tcp(host: "127.0.0.1", port: try #require(server.tcpPort))
        let there = RedisEndpoint.Address.tcp(host: "127.0.0.1", port: try #require(locked.tcpPort))
        let (web, closing, resetting, silent) = (
            try FakeServer(answering: "HTTP/1.1 400 Bad Request\r\n\r\n"), try FakeServer(.answers([])), try FakeServer(.resets), try FakeServer(.silent)
        )
        let full = try FakeServer(answering: "-ERR max number of clients reached\r\n")
        func fake(_ server: FakeServer) -> RedisEndpoint { RedisEndpoint(address: .tcp(host: "127.0.0.1", port: server.port)) }
        let causes: [(RedisEndpoint, RedisError.Kind, [String])] = [
            (RedisEndpoint(address: .tcp(host: "127.0.0.1", port: try unusedPort())), .refused, ["Connection refused", "does Redis run"]),
            (RedisEndpoint(address: .tcp(host: "no-such-host.invalid", port: 6379)), .refused, ["cannot resolve \"no-such-host.invalid\"", "DNS"]),
            (RedisEndpoint(address: .unix(path: "/nowhere/redis.sock")), .refused, ["/nowhere/redis.sock", "No such file", "unixsocket"]),
            (RedisEndpoint(address: there), .auth, ["NOAUTH", "cache.password-file"]),
            (RedisEndpoint(address: there, password: Secret("wrong")), .auth, ["WRONGPASS", "check the user and the password"]),
            (RedisEndpoint(address: there, user: "nobody", password: Secret("hunter2")), .auth, ["WRONGPASS"]),
            (RedisEndpoint(address: here, password: Secret("hunter2")), .auth, ["without any password", "take ours out"]),
            (RedisEndpoint(address: here, database: 9_999), .other, ["out of range", "fewer databases"]),
            (fake(web), .other, ["is it a Redis"]), (fake(closing), .refused, ["losed"]), (fake(resetting), .refused, ["reset by peer"]),
            (fake(silent), .timeout, ["no answer from", "within"]), (fake(full), .full, ["raise maxclients"]),
        ]
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (endpoint, kind, words) in causes {
                group.addTask { try await expect(endpoint, kind, words) }
            }
            try await group.waitForAll()
        }
    }

    private func expect(_ endpoint: RedisEndpoint, _ kind: RedisError.Kind, _ words: [String]) async throws {
        let loop = try EventLoop()
        defer { loop.shutdown() }
        let connection = RedisConnection(endpoint, loop: loop, logger: .quiet)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await connection.run() }
            try await until("\(endpoint) is known to be away") { connection.status.reason != "not connected yet" }
            // Before the end has a reason of its own.
            let reason = try #require(connection.status.reason, "\(endpoint) let us in")
            group.cancelAll()
            let place = if case .tcp(_, 6379) = endpoint.address { "no-such-host.invalid" } else { endpoint.address.text }
            for word in words + [place] { #expect(reason.contains(word), "no \(word) in: \(reason)") }
            #expect(!reason.contains("hunter2"), "\(reason)")
            #expect(RedisError.down(reason: reason, since: .zero).kind == kind, "\(reason)")
        }
    }
}
