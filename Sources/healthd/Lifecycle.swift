import AppCore
import FoundationEssentials
import GRDB
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import Probes
import ServiceLifecycle
import UnixSignals
import Vitals

#if canImport(Glibc)
    import Glibc
#endif

/// The life of the daemon: what starts after what, what stops before what, and what is told to systemd.
enum Lifecycle {
    /// Runs until SIGTERM or SIGINT. A second one changes nothing: timeout(1), and a terminal together with a script, send two at once, and would
    /// then cut off what ends in order. The stop has bounds of its own, and SIGKILL ends it at once.
    ///
    /// Both are caught before anything is started, SIGHUP too: by default each of the three would end the process, and leave the private servers.
    ///
    /// - Throws: what kept it from starting.
    static func run(
        configuration: Configuration, source: ConfigurationSource, systemd: SystemdEnvironment, log: LogWriter, demo: Bool
    ) async throws {
        let limit = Surroundings.raiseDescriptorLimit() ?? DescriptorBudget.mostUseful
        guard limit >= DescriptorBudget.fewest else { throw TooFewDescriptors(limit: limit) }
        await Surroundings.openTimers()
        let time = SystemTime()
        let logger = Logger(label: "healthd")
        let notifier = SystemdNotifier(systemd, time: time, logger: logger.part("systemd"))
        // The last notices; a manager that does not read keeps nobody.
        defer {
            notifier.stopping()
            notifier.flush(within: .seconds(1))
        }
        notifier.status("starting")
        if !systemd.unusedSockets.isEmpty {
            logger.warning(
                "sockets passed by systemd are not used: healthd opens its own",
                metadata: ["names": "\(systemd.unusedSockets.joined(separator: ", "))"])
        }

        let hangups = await UnixSignalsSequence(trapping: .sighup)
        let whole = Whole {
            try await withGracefulShutdownHandler {
                try await start(
                    configuration, source: source, hangups: hangups, descriptorLimit: limit, notifier: notifier, log: log, demo: demo, time: time,
                    logger: logger)
            } onGracefulShutdown: {
                notifier.stopping()
            }
        }
        try await ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [.init(service: whole, successTerminationBehavior: .gracefullyShutdownGroup)],
                gracefulShutdownSignals: [.sigterm, .sigint], logger: logger.part("lifecycle"))
        ).run()
    }

    /// Starts the private servers, serves, and stops them; a stop that is asked for meanwhile does not wait for the start's end.
    private static func start(
        _ configuration: Configuration, source: ConfigurationSource, hangups: UnixSignalsSequence, descriptorLimit: Int, notifier: SystemdNotifier,
        log: LogWriter, demo: Bool, time: any TimeSource, logger: Logger
    ) async throws {
        let state = try stateFolder(configuration)
        let store = try localStore(configuration, state, time: time, logger: logger.part("store"))
        var embedded = EmbeddedServers.none
        if let state, configuration.startsServers {
            do {
                embedded = try await cancelWhenGracefulShutdown {
                    try await EmbeddedServers.start(
                        configuration.embeddedServers, state: state, poolMax: configuration.pool.max, environment: source.environment, time: time,
                        logger: logger.part("embedded"))
                }
            } catch {
                // What was cut short has failed, and has left nothing running.
                guard Task.isShuttingDownGracefully else { throw error }
                logger.info("the start of the private servers was cut short", metadata: ["reason": "\("\(error)".oneLine(limit: 300))"])
            }
        }
        do {
            if !Task.isShuttingDownGracefully {
                try await serve(
                    configuration, source: source, hangups: hangups, embedded: embedded, store: store, descriptorLimit: descriptorLimit,
                    notifier: notifier, log: log, demo: demo, time: time, logger: logger)
            }
        } catch {
            await embedded.stop()
            throw error
        }
        await embedded.stop()
        logger.info("stopped")
    }

    /// Nil where the disk takes nothing and no private servers need it: alerts then go on in memory, and the verdict says so.
    private static func stateFolder(_ configuration: Configuration) throws(StateFolderError) -> StateFolder? {
        let (path, mode) = (configuration.state, configuration.stateFolderMode)
        let problem: StateFolderError
        do {
            return try PatientThread("state folder").run { try StateFolder(path, mode: mode) }
        } catch let error as StateFolderError {
            problem = error
        } catch {
            problem = StateFolderError("the state folder \(path) cannot be looked at: \(error)", .disk)
        }
        guard problem.cause == .disk, !configuration.startsServers else { throw problem }
        return nil
    }

    private static func localStore(
        _ configuration: Configuration, _ state: StateFolder?, time: any TimeSource, logger: Logger
    ) throws -> LocalStore {
        var migrations = DatabaseMigrator()
        Outbox.registerMigrations(in: &migrations)
        let path = state?.path ?? configuration.state
        let folder = LateStateFolder(path, mode: configuration.stateFolderMode, state)
        return try LocalStore(
            path: "\(path)/healthd.sqlite", migrator: migrations, damageIsNews: AlertWatch.news(by: configuration), time: time, logger: logger
        ) { try folder.take() }
    }

    private static func serve(
        _ configuration: Configuration, source: ConfigurationSource, hangups: UnixSignalsSequence, embedded: EmbeddedServers, store: LocalStore,
        descriptorLimit: Int, notifier: SystemdNotifier, log: LogWriter, demo: Bool, time: any TimeSource, logger: Logger
    ) async throws {
        let sender = WebhookSender(version: ProgramVersion.number, time: time)
        let process = ProcessFiles()
        let descriptors = DescriptorBudget(
            limit: descriptorLimit, open: process.reading().openFDs ?? 0,
            needs: .init(pool: configuration.pool.max, receivers: configuration.receivers.count, cores: min(System.coreCount, HTTPLoops.most)))
        if let missing = descriptors.missing {
            logger.warning(
                "the limit of file descriptors is low for this configuration",
                metadata: ["limit": "\(descriptors.limit)", "missing": "\(missing)", "pool": "\(configuration.pool.max)"])
        }
        let servers = try configuration.servers(embedded)
        if configuration.database != .embedded, let file = PasswordFile(of: servers.postgres), let reason = file.refusal {
            logger.warning("the password file is not read", metadata: ["file": "\(file.path)", "reason": "\(reason)"])
        }
        let program = try Program(
            configuration, servers: servers, store: store, sender: sender, descriptors: descriptors, process: process,
            time: time, logger: logger)
        let reloader = Reloader(configuration, source: source, program: program, notifier: notifier, logger: logger.part("reload"))
        let preparation = Preparation(
            database: program.database, schema: program.schema, mayMigrate: configuration.database == .embedded || demo, plantsDemo: demo,
            time: time, logger: logger.part("schema"))

        let server = Application(
            router: program.httpServices(demo: demo, reloader: reloader, notifier: notifier, log: log, logger: logger).router(),
            server: .watched(by: program.connections),
            configuration: ApplicationConfiguration(
                address: .hostname(configuration.listen.host, port: configuration.listen.port), serverName: "healthd"),
            onServerRunning: { channel in
                do {
                    try await AcceptGate.install(on: channel, program.connections)
                } catch {
                    // Closed already: the group is stopping.
                    return
                }
                notifier.ready()
                logger.info("serving", metadata: ["address": "http://\(channel.localAddress?.hostAndPort ?? "\(configuration.listen)")/"])
            },
            logger: logger.part("http"))

        // Started in this order and stopped in the reverse one, so that each part ends before those it needs.
        var parts: [Part] = [
            Part("event loop beat") { await program.beat() },
            Part("pool") { await program.database.pool.run() },
            Part("watchdog") { await notifier.run(parts: { program.watchdogParts }) },
            Part("status") { await program.tellStatus(to: notifier) },
            // Asked to end, and not cut off: what a receiver is taking just now is taken.
            Part("alerts", stop: { program.dispatcher.stop() }) { await program.dispatcher.run() },
            Part("connections") { await program.connections.run() },
            Part("HTTP event loop beat") { await program.httpLoops.run() },
            Part("health board") { await program.board.run() },
            Part("cache") { await program.cache.run() },
            Part("visits") { await program.workspaces.run() },
        ]
        for connection in [program.cacheConnection, program.watchers.redis].compactMap({ $0 }) {
            parts.append(Part("redis") { await connection.run() })
        }
        parts += program.runners.map { runner in Part("probe \(runner.probe.id)") { await runner.run() } }
        parts += [
            Part("schema") { await preparation.run() },
            Part("reload on SIGHUP") { await reload(reloader, on: hangups) },
        ]
        if demo {
            parts.append(
                Part("demo load") {
                    await program.schema.untilReady()
                    await DemoLoad(workspaces: program.workspaces, tasks: program.tasks, time: time, logger: logger.part("demo")).run()
                })
        }
        var services = parts.map { ServiceGroupConfiguration.ServiceConfiguration(service: $0, successTerminationBehavior: .ignore) }
        services.append(.init(service: WorkerPart(program: program), successTerminationBehavior: .ignore))
        services.append(
            .init(
                service: Listener(address: configuration.listen, server: server, connections: program.connections),
                successTerminationBehavior: .gracefullyShutdownGroup))
        // Stopped first: an open stream would keep the server waiting.
        services.append(.init(service: StreamsPart(hub: program.hub, worker: program.worker), successTerminationBehavior: .ignore))
        // It stops when the group around it does, which catches the signals.
        var group = ServiceGroupConfiguration(services: services, logger: logger.part("lifecycle"))
        group.maximumGracefulShutdownDuration = .seconds(15)
        group.maximumCancellationDuration = .seconds(5)
        do {
            try await ServiceGroup(configuration: group).run()
        } catch {
            await program.end()
            try? await sender.shutdown()
            throw error
        }
        await program.end()
        try? await sender.shutdown()
    }

    /// One that came during the start is acted on now.
    private static func reload(_ reloader: Reloader, on hangups: UnixSignalsSequence) async {
        for await _ in hangups {
            // Its problems have been logged; the last good configuration stays.
            _ = try? reloader.reload()
        }
    }
}

/// All of the program as the one service of a group, which catches signals from before its first line until after its last.
private struct Whole: Service {
    let body: @Sendable () async throws -> Void

    @concurrent func run() async throws { try await body() }
}

/// One part of the program: cancelled when the group stops, or asked to end where it has a way of its own.
private struct Part: Service {
    let name: String
    let stop: (@Sendable () -> Void)?
    let body: @Sendable () async -> Void

    init(_ name: String, stop: (@Sendable () -> Void)? = nil, body: @escaping @Sendable () async -> Void) {
        self.name = name
        self.stop = stop
        self.body = body
    }

    @concurrent func run() async throws {
        if let stop {
            await withGracefulShutdownHandler { await body() } onGracefulShutdown: { stop() }
        } else {
            await cancelWhenGracefulShutdown { await body() }
        }
        // The group stops the parts one by one, and takes an end before that for a failure: a part that is done waits to be stopped.
        try? await gracefulShutdown()
    }
}

/// The HTTP server, whose errors are those of its address: all others are answers to requests.
private struct Listener<Server: Service>: Service {
    let address: ListenAddress
    let server: Server
    let connections: Connections

    @concurrent func run() async throws {
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    guard (try? await gracefulShutdown()) != nil else { return }
                    await connections.letGo()
                }
                defer { group.cancelAll() }
                try await server.run()
            }
        } catch {
            throw ListenError(address, error) ?? error
        }
    }
}

/// Event streams: readers are let go before the server stops, and resume at its next start.
///
/// Running tasks are given back from now on, too: whatever else may hang while we stop, another daemon then goes on with them.
private struct StreamsPart: Service {
    let hub: EventHub
    let worker: TaskWorker

    @concurrent func run() async throws {
        await withGracefulShutdownHandler {
            await cancelWhenGracefulShutdown { await hub.run() }
        } onGracefulShutdown: {
            hub.endStreams()
            worker.stop()
        }
    }
}

/// The task worker: on shutdown it gives running tasks back before it ends.
private struct WorkerPart: Service {
    let program: Program

    @concurrent func run() async throws {
        await cancelWhenGracefulShutdown { await program.schema.untilReady() }
        if program.schema.problem == nil {
            // It stops when the first part does: see StreamsPart.
            await program.worker.run()
        }
        // Waits to be stopped, as every part does.
        try? await gracefulShutdown()
    }
}

extension SocketAddress {
    fileprivate var hostAndPort: String? {
        guard let ipAddress, let port else { return nil }
        return ipAddress.contains(":") ? "[\(ipAddress)]:\(port)" : "\(ipAddress):\(port)"
    }
}
