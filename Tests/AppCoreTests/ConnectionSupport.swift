import TestServers
import Testing
import Vitals

@testable import AppCore

/// Opens one connection, lends it to `body` and closes it.
func withConnection<Result: Sendable>(
    _ endpoint: PostgresEndpoint, within budget: Duration = .seconds(10), _ body: (PostgresConnection) async throws -> Result
) async throws -> Result {
    let loop = try EventLoop()
    defer { loop.shutdown() }
    let connector = PostgresConnector(
        endpoint: endpoint, applicationName: "test", loop: loop, calls: BlockingCalls(limit: 8, loop: loop))
    let connection = try await connector.connect(until: Deadline(.now() + budget))
    defer { connection.close() }
    return try await body(connection)
}

extension TestPostgres {
    /// The role `app` over the socket.
    var endpoint: PostgresEndpoint { endpoint() }

    func endpoint(_ keywords: [String: String] = [:]) -> PostgresEndpoint {
        PostgresEndpoint(keywords: ["host": socketDirectory, "user": "app", "dbname": "app"].merging(keywords) { $1 })
    }
}

/// One server for several tests, started by the first that asks.
actor SharedServer {
    private var started: TestPostgres?

    func get() async throws -> TestPostgres {
        if let started { return started }
        let server = try await TestPostgres.start()
        started = server
        return server
    }
}
