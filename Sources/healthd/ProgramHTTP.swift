import AppCore
import Hummingbird
import Logging
import Probes
import Vitals

extension Program {
    /// All routes. What they show comes from snapshots; only the application's own routes touch PostgreSQL.
    func router(demo: Bool, reloader: Reloader, logger: Logger) -> Router<HTTPContext> {
        var routes = Routes(statistics: requests, time: time, logger: logger.part("http"))
        addMetricsRoutes(
            to: &routes,
            exposition: ExpositionCache(time: time, generation: { samples.count }, collect: { families(reloads: reloader.status) }))
        addProbeRoutes(to: &routes, liveness: liveness, readiness: readiness)
        addHealthRoutes(
            to: &routes, identity: identity, board: { board.snapshot() }, pool: { reading.current() },
            holders: { database.pool.holders() }, time: time)
        addAlertRoutes(to: &routes, alerts: { dispatcher.snapshot() }, time: time)
        addPageRoutes(to: &routes, assets: Assets(), page: { PageModel(pageSources()) })
        addWorkspaceRoutes(to: &routes, workspaces: workspaces)
        addTaskRoutes(to: &routes, tasks: tasks, hub: hub, time: time)
        addOperationsRoutes(to: &routes, reload: { try await reloader.reload() })
        if demo { addDemoRoutes(to: &routes, database: database) }
        return routes.finished()
    }

    private var liveness: [ReadinessCheck] {
        [ReadinessCheck("event-loop") { stalled("event loop", loop.lastTurned, cycle: Self.loopBeat * 5) }]
            + runners.map { runner in
                ReadinessCheck("probe-\(runner.probe.id)") {
                    stalled("probe \(runner.probe.id)", runner.progress, cycle: runner.longestSilence * 3)
                }
            }
    }

    private var readiness: [ReadinessCheck] {
        [
            ReadinessCheck("migrations") { schema.problem },
            ReadinessCheck("database", isRequired: false) {
                reading.current().unavailable.map { "unavailable for \($0.since.text): \($0.cause)" }
            },
        ]
    }

    private func stalled(_ part: String, _ last: MonotonicInstant, cycle: Duration) -> String? {
        let silent = time.now() - last
        return silent > cycle ? "\(part) has made no progress for \(silent.text)" : nil
    }

    private func families(reloads: Reloader.Status) -> [MetricFamily] {
        let statistics = reading.current()
        var all = healthd.families(of: statistics) + healthd.families(of: board.snapshot()) + healthd.families(of: dispatcher.snapshot())
        all += healthd.families(of: runners.map(\.statistics), targets: ["postgres", "redis"])
        all += healthd.families(of: cache.statistics()) + healthd.families(of: worker.statistics()) + healthd.families(of: hub.statistics())
        if let found = latest.of("postgres") { all += healthd.families(ofPostgres: found) }
        if let found = latest.of("redis") { all += healthd.families(ofRedis: found) }
        let process = ProcessReading.current()
        all += healthd.families(of: process) + healthd.families(of: requests.snapshot()) + healthd.families(of: identity)
        all += healthd.families(of: saturations(statistics, process)) + healthd.families(of: reloads)
        return all
    }

    private func saturations(_ pool: PoolStatistics, _ process: ProcessReading) -> [SaturationReading] {
        let tasks = worker.statistics()
        let streams = hub.statistics()
        let postgres = latest.of("postgres")?.values["saturation"]
        return [
            SaturationReading("pool", target: "main", ratio: latest.of("pool")?.values["saturation"]),
            SaturationReading("postgres_backends", target: "postgres", ratio: postgres),
            SaturationReading("task_queue", target: "main", used: tasks.running, of: tasks.limit),
            SaturationReading("sse_clients", target: "main", used: streams.clients, of: streams.limit),
            SaturationReading("fds", target: "self", used: process.openFDs, of: process.maxFDs),
        ]
    }

    private func pageSources() -> PageSources {
        let board = board.snapshot()
        var sources = PageSources(
            identity: identity, now: time.now(), board: board, recent: [:], pool: reading.current(),
            waiterLimit: database.pool.configuration.waiters, holders: database.pool.holders(), alerts: dispatcher.snapshot())
        for component in board.components { sources.recent[component.id] = samples.outcomes(of: component.id) }
        sources.figures = PageModel.Figure.application(cache: cache.statistics(), tasks: worker.statistics(), streams: hub.statistics())
        return sources
    }
}
