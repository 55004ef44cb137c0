import Logging
import TestServers
import Testing
import Vitals

@testable import AppCore
@testable import healthd

@Suite struct `The preparation of the database` {
    private func unavailable(_ cause: String, since: Duration) -> PoolError {
        .databaseUnavailable(cause: cause, since: since, nextAttemptIn: .seconds(1))
    }

    private func saturated(waiting: Int, waited: Duration) -> PoolError {
        .saturated(PoolPicture(leased: 8, idle: 0, connecting: 0, waiting: waiting, max: 8), waited: waited, retryAfter: .seconds(1))
    }

    @Test func `takes other words about the same trouble for the same`() {
        typealias Situation = Preparation.Situation
        let first = Situation(unavailable("a:5432 refused", since: .seconds(1)))
        #expect(first == Situation(unavailable("b:5432 did not answer", since: .seconds(2))))
        #expect(first == Situation(PostgresError.connectFailed("refused", sqlState: nil)))
        let busy = Situation(saturated(waiting: 3, waited: .seconds(2)))
        #expect(busy == Situation(saturated(waiting: 4, waited: .milliseconds(1_900))) && busy != first)
        #expect(Situation(SchemaError.locked(after: "10 s")) == Situation(SchemaError.locked(after: "11 s")))
    }

    @Test func `tells other troubles apart`() {
        typealias Situation = Preparation.Situation
        #expect(
            Situation(PostgresError.server(ServerError(sqlState: "42501", message: "m")))
                != Situation(PostgresError.server(ServerError(sqlState: "42P01", message: "m"))))
        #expect(Situation(SchemaError.unknown(file: "a")) != Situation(SchemaError.unknown(file: "b")))
        #expect(Situation.unfit("not migrated") != Situation.unreachable)
    }

    @Test func `A14: tells of a database that is away once, though its words are other ones at each attempt`() async throws {
        let endpoint = PostgresEndpoint(keywords: ["host": "127.0.0.1", "port": "\(try unusedPort())", "user": "app", "dbname": "app"])
        let loop = try EventLoop()
        defer { loop.shutdown() }
        let pool = Pool(PoolConfiguration(max: 1, deadline: .seconds(20)), endpoint: endpoint, loop: loop, logger: .quiet)
        let (lines, time, schema) = (LogLines(), ManualTime(), SchemaGate())
        let preparation = Preparation(
            database: Database(pool: pool), schema: schema, mayMigrate: false, plantsDemo: false, time: time, logger: lines.logger)
        var words: Set<String> = []
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await pool.run() }
            group.addTask { await preparation.run() }
            try await until("it has said so in three ways") {
                // It sleeps after each attempt.
                try await time.untilAsleep()
                words.insert(schema.problem ?? "")
                time.advance(by: .seconds(1))
                return words.count >= 3
            }
            group.cancelAll()
        }
        #expect(words.allSatisfy { $0.contains("unavailable") }, "\(words)")
        #expect(lines.all.count { $0.hasPrefix("warning the application's tables are not there yet") } == 1, "\(lines.all)")
    }
}
