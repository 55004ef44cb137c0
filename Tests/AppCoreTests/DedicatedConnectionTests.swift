import Glibc
import TestServers
import Testing
import Vitals

@testable import AppCore

/// A watcher's own connection, on servers that are slow or say nothing.
@Suite("DedicatedConnection")
struct DedicatedConnectionTests {
    private func with<Result: Sendable>(
        _ endpoint: PostgresEndpoint, patience: Duration = .seconds(5), _ body: (DedicatedConnection) async throws -> Result
    ) async throws -> Result {
        let loop = try EventLoop()
        defer { loop.shutdown() }
        let connection = DedicatedConnection(endpoint: endpoint, applicationName: "watcher", patience: patience, loop: loop)
        defer { connection.close() }
        return try await body(connection)
    }

    private func pid(_ connection: DedicatedConnection) async throws -> Int? {
        try await connection.query("SELECT pg_backend_pid() AS pid", until: Deadline(.now() + .seconds(20))).first?.int("pid")
    }

    @Test("D8: a statement that takes too long is cancelled, and the next one is sent to the same backend: there is never another")
    func slowStatement() async throws {
        let server = try await TestPostgres.start()
        try await with(server.endpoint) { connection in
            let first = try await pid(connection)
            for _ in 0..<5 {
                do {
                    _ = try await connection.query("SELECT pg_sleep(600)", until: Deadline(.now() + .milliseconds(100)))
                    Issue.record("it slept for ten minutes")
                } catch {
                    if case PostgresError.deadlineExceeded = error {} else { Issue.record("\(error)") }
                }
                let backends = try await server.superuserScript("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'watcher'")
                #expect(backends == "1")
            }
            #expect(try await pid(connection) == first)
            let asleep = try await server.superuserScript("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()")
            #expect(asleep == "0")
        }
    }

    @Test("D8: a backend that does not even hear its cancellation is waited for, until the caller is cancelled")
    func deafBackend() async throws {
        let server = try await TestPostgres.start()
        try await with(server.endpoint) { connection in
            let backend = try #require(try await pid(connection))
            kill(pid_t(backend), SIGSTOP)
            defer { kill(pid_t(backend), SIGCONT) }
            _ = try? await connection.query("SELECT 1", until: Deadline(.now() + .milliseconds(50)))
            let (returned, looks) = (Counter(), Counter())
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    // Its own deadline passes: it has another's statement to see the end of.
                    _ = try? await connection.query("SELECT 1", until: Deadline(.now() + .milliseconds(50)))
                    returned.add()
                }
                try await until("three looks from outside") {
                    let backends = try await server.superuserScript("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'watcher'")
                    #expect(backends == "1")
                    looks.add()
                    return looks.value == 3
                }
                #expect(returned.value == 0)
                group.cancelAll()
            }
            #expect(returned.value == 1)
        }
    }

    @Test("D8: a server that takes the connection and says nothing is asked once, and named meanwhile")
    func silentServer() async throws {
        let silent = try FakeServer(.silent)
        let endpoint = PostgresEndpoint(keywords: ["host": "127.0.0.1", "port": "\(silent.port)", "user": "app", "dbname": "app"])
        let patience = Duration.seconds(1)
        try await with(endpoint, patience: patience) { connection in
            #expect(connection.newestConnect(now: .now()) == nil)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { _ = try? await connection.query("SELECT 1", until: Deadline(.now() + .milliseconds(50))) }
                try await until("it is known to be silent") { connection.newestConnect(now: .now())?.error != nil }
                let newest = try #require(connection.newestConnect(now: .now()))
                #expect(newest.failuresInRow == 1 && newest.isUnanswered)
                #expect(newest.error.map { "\($0)".contains("\(silent.port)") } == true, "\(newest)")
                // Three times as long as a host that cannot be reached would have got.
                let end = MonotonicInstant.now() + patience * 2
                try await until("the attempt is old") { MonotonicInstant.now() > end }
                #expect(silent.connections == 1)
                group.cancelAll()
            }
        }
    }

    @Test func `two attempts at once are known apart: the end of one leaves it known that nobody answers the other`() async throws {
        let silent = try FakeServer(.silent)
        let endpoint = PostgresEndpoint(keywords: ["host": "127.0.0.1", "port": "\(silent.port)", "user": "app", "dbname": "app"])
        try await with(endpoint, patience: .seconds(1)) { connection in
            try await withThrowingTaskGroup(of: Void.self) { query in
                query.addTask { _ = try? await connection.query("SELECT 1", until: Deadline(.now() + .milliseconds(50))) }
                try await until("nobody answers the query") { connection.newestConnect(now: .now())?.isUnanswered == true }
                try await withThrowingTaskGroup(of: Void.self) { proof in
                    // Again, should a busy machine not even have asked in time.
                    proof.addTask { while !Task.isCancelled { try? await connection.proveNew() } }
                    try await until("a proof is under way beside it") { silent.connections >= 2 }
                    #expect(connection.newestConnect(now: .now())?.isUnanswered == true)
                    proof.cancelAll()
                }
                #expect(connection.newestConnect(now: .now())?.isUnanswered == true)
                query.cancelAll()
            }
            #expect(connection.newestConnect(now: .now())?.isUnanswered != true, "who gives up says nothing of the server")
        }
    }

    @Test("D8: a host that cannot be reached is given up in time, since that costs it nothing")
    func unreachable() async throws {
        // A listener whose queue is full: the kernel answers nobody who asks for a connection.
        let port = try unusedPort()
        let listener = try listeningSocket(port: port, backlog: 0)
        defer { close(listener) }
        let crowd = (0..<4).map { _ in
            let client = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
            _ = withSocketAddress(ofPort: port) { connect(client, $0, $1) }
            return client
        }
        defer { crowd.forEach { close($0) } }
        let endpoint = PostgresEndpoint(keywords: ["host": "127.0.0.1", "port": "\(port)", "user": "app", "dbname": "app"])
        let patience = Duration.milliseconds(300)
        try await with(endpoint, patience: patience) { connection in
            do {
                _ = try await connection.query("SELECT 1", until: .never)
                Issue.record("connected")
            } catch {
                guard case PostgresError.connectTimedOut(_, let waited) = error else {
                    Issue.record("\(error)")
                    return
                }
                #expect(waited <= patience)
            }
        }
    }
}
