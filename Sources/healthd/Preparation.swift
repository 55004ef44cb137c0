import AppCore
import Logging
import Vitals

/// Brings the database to where the application can work: looks, migrates where that is ours to do, and plants the demo.
struct Preparation: Sendable {
    let database: Database
    let schema: SchemaGate
    /// Whether the database is our own to change: the private one, or one given for a demo.
    let mayMigrate: Bool
    let plantsDemo: Bool
    let time: any TimeSource
    let logger: Logger

    /// Tries until it has succeeded or is cancelled; a database that is down, or not migrated yet, may come.
    func run() async {
        // Readiness hangs on it.
        await Work.$workClass.withValue(.critical) { await prepare() }
    }

    private func prepare() async {
        var told: Situation?
        while !Task.isCancelled {
            do {
                if let problem = try await problem() {
                    report(problem, .unfit(problem), &told)
                } else {
                    if plantsDemo { try await plant() }
                    schema.report(nil)
                    if told != nil { logger.info("the application's tables are there") }
                    return
                }
            } catch {
                report("\(error)".oneLine(limit: 500), Situation(error), &told)
            }
            try? await time.sleep(for: .seconds(1))
        }
    }

    /// One line for each change of the situation: its words may differ each second, by an age or by the host that was tried.
    private func report(_ problem: String, _ situation: Situation, _ told: inout Situation?) {
        schema.report(problem)
        guard situation != told, !Task.isCancelled else { return }
        told = situation
        logger.warning("the application's tables are not there yet", metadata: ["reason": "\(problem)"])
    }

    private func problem() async throws -> String? {
        let migrator = Migrator(database: database, time: time, logger: logger)
        if mayMigrate { try await migrator.up() }
        let status = try await migrator.status()
        if let problem = status.problem { return "\(problem)" }
        guard !status.pending.isEmpty else { return nil }
        return "not migrated: \(status.pending.map(\.name).joined(separator: ", ")) missing; run \"healthd migrate up\""
    }

    private func plant() async throws {
        let seed = Seed(database: database, scale: .small, time: time)
        switch try await Work.$workClass.withValue(.background, operation: { try await seed.run() }) {
        case .seeded(let rows): logger.info("demo data planted", metadata: ["rows": "\(rows)"])
        case .alreadySeeded(let workspaces): logger.info("demo data is there already", metadata: ["workspaces": "\(workspaces)"])
        }
    }
}

extension Preparation {
    /// Why the application cannot work on the database yet. Two situations are different when a person would do different things about them.
    enum Situation: Sendable, Hashable {
        /// It answered, and its tables are not those of this program.
        case unfit(String)
        case unreachable
        /// It, or the pool before it, was too slow or too busy.
        case busy
        /// It refused: an error of this SQLSTATE.
        case refused(String)
        /// Any other error, by its type.
        case failing(String)

        init(_ error: any Error) {
            switch error {
            case PoolError.databaseUnavailable, PostgresError.connectFailed, PostgresError.connectTimedOut, PostgresError.connectionLost, PostgresError.notSent: self = .unreachable
            case PoolError.saturated, PostgresError.deadlineExceeded, SchemaError.locked: self = .busy
            case PostgresError.server(let error): self = .refused(error.sqlState)
            case let error as SchemaError: self = .unfit("\(error)")
            default: self = .failing("\(type(of: error))")
            }
        }
    }
}
