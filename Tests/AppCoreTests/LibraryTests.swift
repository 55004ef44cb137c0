import AppCore
import Synchronization
import TestServers
import Testing

@testable import ThesisLength

/// AppCore as somebody else's program uses it: what is not public is not seen here.
@Suite("AppCore is a library")
struct LibraryTests {
    @Test("AppCore is a library: the example runs a handler of its own, over the pool and the cache")
    func example() async throws {
        let server = try await TestPostgres.start()
        let said = Mutex<[String]>([])
        try await Example.run(PostgresEndpoint(keywords: ["host": server.socketDirectory, "user": "app", "dbname": "app"])) { line in
            said.withLock { $0.append(line) }
        }
        let lines = said.withLock { $0 }
        let result = try #require(lines.first { $0.hasPrefix("task:completed") })
        #expect(result.contains(#""rivals": 0"#) && result.contains(#""words": 5"#), "\(lines)")
        #expect(lines.suffix(2) == ["memory: Long semis", "loaded: Long semis"], "\(lines)")
    }
}
