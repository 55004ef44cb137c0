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
        var lastProblem: String?
        while !Task.isCancelled {
            do {
                if let problem = try await problem() {
                    report(problem, &lastProblem)
                } else {
                    if plantsDemo { try await plant() }
                    schema.report(nil)
                    return
                }
            } catch {
                report("\(error)".oneLine(limit: 500), &lastProblem)
            }
            try? await time.sleep(for: .seconds(1))
        }
    }

    private func report(_ problem: String, _ last: inout String?) {
        schema.report(problem)
        guard problem != last, !Task.isCancelled else { return }
        last = problem
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
