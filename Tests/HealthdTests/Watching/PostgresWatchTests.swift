@testable import AppCore
import Probes
import TestServers
import Testing
import Vitals

@testable import healthd

/// What a person is told first, from what the server said by SQLSTATE: down, full, locked out, not answering.
@Suite struct PostgresWatchTests {
    @Test(arguments: [
        ("53300", "full"), ("28P01", "locked out"), ("28000", "locked out"), ("3D000", "locked out"), ("42501", "locked out"),
        ("55000", "locked out"), ("57P03", "down"), ("57P01", "down"), ("08P01", "down"), (nil, "down"),
    ] as [(String?, String)])
    func `a refused connection is told by its SQLSTATE`(sqlState: String?, words: String) {
        let failure = PostgresWatch.failure(.connectFailed("zu viele Verbindungen von Rolle »app«", sqlState: sqlState), timeout: .seconds(1))
        #expect("\(failure)" == "\(words): zu viele Verbindungen von Rolle »app«")
    }

    @Test func `silence names who was asked`() {
        let failure = PostgresWatch.failure(.connectTimedOut("db, port 5432", after: .milliseconds(500)), timeout: .seconds(1))
        #expect("\(failure)" == "not answering: db, port 5432: no answer within 500 ms")
    }

    @Test func `a statement that may not run is a failing watcher, not a locked door`() {
        let failure = PostgresWatch.failure(.server(ServerError(sqlState: "42501", message: "permission denied")), timeout: .seconds(1))
        #expect("\(failure)" == "failing: permission denied")
    }

    @Test func `sessions are counted by what they do, and the oldest of each kind is known`() async throws {
        try await WatchedDatabase.with { watched in
            let watcher = DedicatedConnection(endpoint: watched.endpoint, applicationName: "healthd probe", loop: watched.loop)
            defer { watcher.close() }
            let probe = PostgresWatch.probe(watcher, interval: .seconds(1), timeout: .seconds(20), time: SystemTime())
            try await watched.whileOneWaits {
                try await until("the second waits for what the first has locked, and forgets") {
                    try await probe.measure().values["lock_waiters"] == 1
                }
                let found = try await probe.measure().values
                #expect(found["backends_waiting"] == 1 && found["backends_idle_in_transaction"] == 1, "\(found)")
                // The first has done nothing since before the second came.
                let waits = try #require(found["lock_wait_oldest_seconds"])
                let idles = try #require(found["idle_in_transaction_oldest_seconds"])
                #expect(waits > 0 && idles > waits, "\(found)")
                // Of what an application may have.
                let room = try await watched.server.superuserScript("SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int")
                let limit = try #require(found["backends_max"])
                #expect("\(Int(limit))" == room)
                // The pool's, the watcher's, and whoever comes and goes.
                #expect((3...8).contains(((found["saturation"] ?? 0) * limit).rounded()), "\(found)")
            }
        }
    }
}
