import AppCore
import Hummingbird
import Logging
import Probes
import Vitals

/// What the routes need of the program.
struct HTTPServices: Sendable {
    var snapshots: Snapshots
    /// The same that `snapshots.http` reads.
    var statistics: HTTPStatistics
    var workspaces: WorkspaceStore
    /// For the time when the database cannot be asked.
    var lastGood: LastGood
    var tasks: AgentTaskStore
    var hub: EventHub
    /// What makes a restart useful: a stalled part of our own, never a database.
    var liveness: [SelfCheck]
    /// What must hold before requests are sent here.
    var readiness: [SelfCheck]
    /// Reads the configuration again; answers with a line for the person who asked, throws what is wrong with it.
    var reload: @Sendable () async throws -> String
    /// nil unless the program runs as a demo.
    var demo: Database?
    var logger: Logger

    /// All routes, ready for an `Application`.
    func router() -> Router<HTTPContext> {
        let time = snapshots.time
        var routes = Routes(statistics: statistics, time: time, logger: logger)
        addMetricsRoutes(to: &routes, exposition: snapshots.exposition())
        addProbeRoutes(to: &routes, liveness: liveness, readiness: readiness)
        addHealthRoutes(
            to: &routes, identity: snapshots.identity, board: snapshots.board, pool: snapshots.pool, holders: snapshots.holders,
            look: snapshots.look, time: time)
        addAlertRoutes(to: &routes, alerts: snapshots.alerts, time: time)
        addPageRoutes(to: &routes, assets: Assets()) { [snapshots] in snapshots.page() }
        addTaskRoutes(to: &routes, tasks: tasks, hub: hub, time: time)
        addWorkspaceRoutes(
            to: &routes, workspaces: workspaces, ladder: DegradeLadder(lastGood: lastGood, statistics: statistics))
        addOperationsRoutes(to: &routes, reload: reload)
        if let demo { addDemoRoutes(to: &routes, database: demo) }
        return routes.finished()
    }
}
