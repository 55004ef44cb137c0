import AppCore
import Probes
import Vitals

/// Where everything that is shown comes from: each closure takes a lock, copies, and asks nobody.
///
/// Metrics, the page and the documents are made from these and from nothing else, so none of them can touch a target.
struct Snapshots: Sendable {
    var identity: ProgramIdentity
    var time: any TimeSource
    var board: @Sendable () -> BoardSnapshot
    var probes: @Sendable () -> [ProbeStatistics]
    /// Fed by every runner beside the board.
    var recent: RecentSamples
    var alerts: @Sendable () -> AlertsSnapshot
    /// Through `PoolReading`, so that no reader takes another's peak.
    var pool: @Sendable () -> PoolStatistics
    var holders: @Sendable () -> PoolHolders
    /// What the holders' backends waited for, as last seen; nil before the first look.
    var look: @Sendable () -> BackendLook? = { nil }
    /// Callers that may queue.
    var waiterLimit: Int
    var cache: @Sendable () -> CacheStatistics
    var tasks: @Sendable () -> TaskStatistics
    var streams: @Sendable () -> EventHubStatistics
    var http: @Sendable () -> HTTPStatistics.Snapshot
    var lifecycle: @Sendable () -> LifecycleReading
    var connections: @Sendable () -> Connections.Snapshot = { Connections.Snapshot() }
    /// Of the proc file system, about 50 µs.
    var process: @Sendable () -> ProcessReading = { .current() }

    /// Components that are something outside this process.
    static let targets: Set<ComponentID> = ["postgres", "redis"]

    /// Everything there is to expose at this moment.
    func families() -> [MetricFamily] {
        let now = time.now()
        let (pool, tasks, streams, process) = (pool(), tasks(), streams(), process())
        let connections = connections()
        let postgres = recent.measurement(of: "postgres", at: now)
        let redis = recent.measurement(of: "redis", at: now)
        let board = board()

        var all = healthd.families(of: pool)
        all += healthd.families(of: board)
        all += healthd.families(of: probes(), targets: Self.targets)
        all += healthd.families(of: alerts())
        all += healthd.families(of: cache())
        all += healthd.families(of: tasks)
        all += healthd.families(of: streams)
        all += healthd.families(of: http())
        all += healthd.families(of: connections)
        all += healthd.families(of: lifecycle())
        all += healthd.families(of: process)
        all += healthd.families(of: identity)
        all += postgres.map { healthd.families(ofPostgres: $0) } ?? []
        all += redis.map { healthd.families(ofRedis: $0) } ?? []
        all += healthd.families(of: [
            SaturationReading("pool", target: "main", ratio: board.rule("pool-saturation")?.value),
            SaturationReading("postgres_backends", target: "postgres", ratio: postgres?.values["saturation"]),
            SaturationReading(
                "redis_clients", target: "redis", used: redis?.values["clients_connected"], of: redis?.values["clients_max"]),
            SaturationReading(
                "redis_memory", target: "redis", used: redis?.values["memory_used_bytes"], of: redis?.values["memory_limit_bytes"]),
            SaturationReading("task_queue", target: "main", used: Double(tasks.running), of: Double(tasks.limit)),
            SaturationReading("sse_clients", target: "main", used: Double(streams.clients), of: Double(streams.limit)),
            SaturationReading(
                "http_connections", target: "healthd", used: Double(connections.count), of: Double(connections.maximum)),
            SaturationReading(
                "fds", target: "healthd", used: process.openFDs.map(Double.init), of: process.maxFDs.map(Double.init)),
        ])
        return all
    }

    func page() -> PageModel {
        PageModel(
            PageSources(
                identity: identity, now: time.now(), board: board(), recent: recent.outcomes, pool: pool(),
                waiterLimit: waiterLimit,
                holders: holders(), look: look(), alerts: alerts(),
                figures: [.cache(cache()), .tasks(tasks()), .streams(streams()), .process(process())]))
    }

    /// The cache of rendered bytes over all families.
    func exposition() -> ExpositionCache {
        ExpositionCache(time: time, generation: { [recent] in recent.count }, collect: { families() })
    }
}
