import AppCore
import Probes
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
}
