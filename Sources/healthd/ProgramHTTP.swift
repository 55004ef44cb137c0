import AppCore
import Hummingbird
import Logging
import Probes
import Vitals

extension Program {
    /// All that HTTP serves. What is shown comes from snapshots; only the application's own routes touch PostgreSQL.
    func httpServices(demo: Bool, reloader: Reloader, notifier: SystemdNotifier, log: LogWriter, logger: Logger) -> HTTPServices {
        HTTPServices(
            snapshots: snapshots(reloader, notifier, log), statistics: requests, workspaces: workspaces, lastGood: lastGood,
            tasks: tasks, hub: hub, liveness: liveness, readiness: readiness, reload: { try reloader.reload() },
            demo: demo ? database : nil,
            logger: logger.part("http"))
    }

    private func snapshots(_ reloader: Reloader, _ notifier: SystemdNotifier, _ log: LogWriter) -> Snapshots {
        Snapshots(
            identity: identity, time: time, board: { board.snapshot() }, probes: { runners.map(\.statistics) }, recent: samples,
            alerts: { dispatcher.snapshot() }, pool: { reading.current() }, holders: { database.pool.holders() },
            look: { looks.current() }, waiterLimit: database.pool.configuration.waiters, cache: { cache.statistics() }, tasks: { worker.statistics() },
            streams: { hub.statistics() }, http: { requests.snapshot() },
            lifecycle: {
                let reload = reloader.status
                return LifecycleReading(
                    watchdogPingsSent: notifier.pings, watchdogPingsWithheld: notifier.pingsWithheld.value, noticesFailed: notifier.failures,
                    watchdogInterval: notifier.watchdogInterval, lastReloadSucceeded: reload.succeeded, lastGoodReload: reload.at,
                    logLinesDropped: log.droppedLines)
            },
            connections: { connections.snapshot() }, process: { process.reading() })
    }

    private var liveness: [SelfCheck] {
        [
            SelfCheck("event-loop") { stalled("event loop", loop.lastTurned, cycle: Self.loopBeat * 5) },
            SelfCheck("http-event-loop") { stalled("HTTP event loop", httpLoops.lastTurned, cycle: HTTPLoops.cycle) },
            SelfCheck("http-connections") { stalled("HTTP connections", connections.lastSweep, cycle: Connections.cycle) },
        ]
            + runners.map { runner in
                SelfCheck("probe-\(runner.probe.id)") {
                    stalled("probe \(runner.probe.id)", runner.progress, cycle: runner.longestSilence * 3)
                }
            }
    }

    private var readiness: [SelfCheck] {
        [
            SelfCheck("migrations") { schema.problem },
            SelfCheck("database", isRequired: false) {
                reading.current().unavailable.map { "unavailable for \($0.since.text): \($0.cause)" }
            },
        ]
    }

    private func stalled(_ part: String, _ last: MonotonicInstant, cycle: Duration) -> String? {
        let silent = time.now() - last
        return silent > cycle ? "\(part) has made no progress for \(silent.text)" : nil
    }
}
