import AppCore
import Logging
import NIOPosix
import Probes
import Vitals

/// Everything that runs, made and joined: the only place where the watched and the watcher meet.
///
/// Probes and AppCore do not know each other. What goes from one to the other goes through the closures written here.
struct Program: Sendable {
    struct Servers: Sendable {
        var postgres: PostgresEndpoint
        /// Nil: the memory tier alone.
        var redis: RedisEndpoint?
    }

    let identity: ProgramIdentity
    let time: any TimeSource
    let schema = SchemaGate()

    // The application.
    let loop: EventLoop
    let database: Database
    let cacheConnection: RedisConnection?
    let cache: TieredCache
    let lastGood: LastGood
    let workspaces: WorkspaceStore
    let tasks: AgentTaskStore
    let worker: TaskWorker
    let hub: EventHub

    // Who watches it.
    let board: HealthBoard
    let runners: [ProbeRunner]
    let watchers: Watchers
    let dispatcher: Dispatcher
    let reading: PoolReading
    let looks: BackendLooks
    let samples = RecentSamples()
    let requests = HTTPStatistics()
    let connections: Connections
    let httpLoops: HTTPLoops
    let process: ProcessFiles

    /// Connections that belong to the watchers, not to the application.
    struct Watchers: Sendable {
        var postgres: DedicatedConnection
        var redis: RedisConnection?
    }

    init(
        _ configuration: Configuration, servers: Servers, store: LocalStore, sender: WebhookSender, descriptors: DescriptorBudget,
        process: ProcessFiles, time: any TimeSource, logger: Logger
    ) throws {
        self.time = time
        identity = ProgramIdentity.current(listen: configuration.listen, time: time)
        self.process = process
        connections = Connections(descriptors, time: time, logger: logger.part("http"))
        let connections = connections
        // The group that Hummingbird's Application takes unless it is given another.
        httpLoops = HTTPLoops(MultiThreadedEventLoopGroup.singleton, time: time)
        loop = try EventLoop()
        let loop = loop

        let relay = PressureRelay()
        let pool = Pool(
            configuration.pool, endpoint: servers.postgres, loop: loop, logger: logger.part("pool"), onPressure: { relay.tell($0) },
            onEvent: PoolLog(logger: logger.part("pool")).record)
        database = Database(pool: pool)
        cacheConnection = servers.redis.map {
            RedisConnection($0, deadline: configuration.cache.deadline, loop: loop, time: time, logger: logger.part("cache"))
        }
        cache = TieredCache(
            configuration: CacheConfiguration(lifetime: configuration.cache.ttl, memoryBytes: configuration.cache.memory.bytes),
            redis: cacheConnection, time: time, logger: logger.part("cache"))
        let lastGood = LastGood(bytes: configuration.cache.memory.bytes / 4, time: time)
        self.lastGood = lastGood
        hub = EventHub(
            database: database, bootID: identity.bootID, streams: descriptors.streams(wanted: EventHub.usualStreams), time: time,
            logger: logger.part("events"))
        let unreadable = UnreadableRows(logger: logger.part("rows"))
        let workspaces = WorkspaceStore(database: database, cache: cache, unreadable: unreadable, time: time, logger: logger.part("workspaces"))
        self.workspaces = workspaces
        tasks = AgentTaskStore(
            database: database, hub: hub, unreadable: unreadable, onWrite: { lastGood.wrote(about: "\($0)") },
            onAbsence: { id in
                lastGood.forget(about: "\(id)")
                await workspaces.foundGone(id)
            })
        worker = TaskWorker(
            store: tasks,
            configuration: TaskConfiguration(concurrency: configuration.tasks.concurrency, perWorkspace: configuration.tasks.perWorkspace),
            name: "\(identity.name)/\(identity.bootID)", time: time, logger: logger.part("tasks"))

        watchers = Watchers(
            postgres: DedicatedConnection(
                endpoint: servers.postgres, applicationName: "healthd probe", patience: configuration.pool.connectTimeout, loop: loop),
            redis: servers.redis.map { RedisConnection($0, loop: loop, time: time, logger: logger.part("redis probe")) })
        let rules = configuration.boardRules(hasRedis: servers.redis != nil)
        looks = BackendLooks(time: time)
        let looks = looks
        board = HealthBoard(rules: rules, evidence: ["pool": { PoolWatch.evidence(pool.holders(), look: looks.current()) }], time: time)
        reading = PoolReading(time: time) { pool.statistics() }
        let reading = reading

        let freshLook = FreshLook(time: time)
        let interval = configuration.probes.interval
        let timeout = configuration.probes.timeout
        var probes = [
            PoolWatch.probe(reading, interval: interval, timeout: timeout, time: time) { await freshLook.isWell(within: $0) },
            QueryWatch.probe(reading, interval: interval, timeout: timeout),
            PostgresWatch.probe(
                watchers.postgres, interval: interval, timeout: timeout, time: time,
                backends: { pool.holders().holders.map(\.backendPID).filter { $0 > 0 } }, looks: looks, pool: { reading.current() }),
            NewConnections.probe(watchers.postgres, timeout: configuration.pool.connectTimeout, time: time, pool: { reading.current() }),
            CacheWatch.probe(cache, interval: interval, timeout: timeout, time: time),
            TaskWatch.probe(worker, interval: interval, timeout: timeout),
            AlertWatch.probe(store, interval: interval, timeout: timeout),
            ProcessWatch.probe(
                interval: interval, timeout: timeout, reading: { process.reading() }, connections: { connections.snapshot() }),
        ]
        if let connection = watchers.redis {
            let cache = cache
            probes.append(RedisWatch.probe(connection, interval: interval, timeout: timeout, time: time) { cache.redisObstacle })
        }
        let (board, samples) = (board, samples)
        runners = probes.map { probe in
            ProbeRunner(probe, time: time) { sample in
                board.record(sample)
                if probe.id == "postgres" { freshLook.record(sample) }
                // Last: whoever renders because of the new count sees what the board made of the sample.
                samples.record(sample)
            }
        }
        if let pool = runners.first(where: { $0.probe.id == "pool" }) { relay.connect(to: pool) }
        if let postgres = runners.first(where: { $0.probe.id == "postgres" }) { freshLook.connect(to: postgres) }

        dispatcher = Dispatcher(
            outbox: Outbox(store: store), receivers: configuration.receivers, rules: rules.told,
            sender: sender, instance: identity.name,
            externalURL: configuration.link, time: time, logger: logger.part("alerts"))
        let dispatcher = dispatcher
        let shownOnly = Set(rules.filter { $0.toldBy != nil }.map(\.name))
        board.observe { if !shownOnly.contains($0.rule) { dispatcher.observe($0) } }
        board.observe { TransitionLog(logger: logger.part("health")).record($0) }
    }
}

extension Logger {
    /// The same logger under a label that says which part speaks.
    func part(_ name: String) -> Logger {
        var logger = self
        logger[metadataKey: "part"] = "\(name)"
        return logger
    }
}
