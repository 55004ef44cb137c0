import AppCore
import Logging
import Vitals

#if canImport(Glibc)
    import Glibc
#endif

/// A private PostgreSQL in the state folder: on a unix socket in a folder of its user's alone, durable, small.
///
/// `pg_ctl` starts it as a process of its own session. It is known by its pid file and proven by `/proc`, so one that outlived a killed
/// healthd is taken over, and one that is somebody else's is never signalled.
struct EmbeddedPostgres: Sendable {
    let folder: ServerFolder
    let programs: ServerPrograms
    /// The server's limit; leave room for the pool, the probes and an operator's psql.
    let connections: Int
    let logger: Logger

    static let role = "healthd"
    static let socket = ".s.PGSQL.5432"
    private static let startLimit = Duration.seconds(60)

    private var data: String { "\(folder.path)/data" }
    private var log: String { "\(folder.path)/postgres.log" }

    /// How to connect: as the superuser of this private server, to its one database.
    var endpoint: PostgresEndpoint {
        PostgresEndpoint(keywords: [
            "host": folder.path, "port": "5432", "user": Self.role, "dbname": Self.role, "sslmode": "disable",
            "gssencmode": "disable",
            "application_name": "healthd",
        ])
    }

    /// Initialises the data where there is none, and starts the server, or takes over the one that runs.
    ///
    /// Nothing is left running by a start that fails or is cancelled.
    func start() async throws {
        try folder.prepare(socket: Self.socket)
        do {
            try await launch()
        } catch {
            await stop()
            throw error
        }
    }

    private func launch() async throws {
        for name in entries(of: folder.path) where name.hasPrefix("data.") && name.hasSuffix(".new") {
            removeFolder("\(folder.path)/\(name)")
        }
        let version = folder.read("data/PG_VERSION")?.filter { !$0.isWhitespace }
        let binaries = try programs.postgres(dataVersion: version)
        if version == nil { try await initialise(binaries) }
        if let running = postmaster() {
            if try await adopt(running) { return }
            logger.info("restarting the private PostgreSQL with new settings", metadata: ["pid": "\(running.pid)"])
            await stop()
        }
        try await clean()
        try folder.write(settings, to: "data/postgresql.conf")
        try folder.write(
            "# Written by healthd. The folder of the socket is its user's alone.\nlocal all all trust\n", to: "data/pg_hba.conf")
        truncateLog()
        do {
            try await ServerCommand(
                program: "\(binaries)/pg_ctl",
                arguments: [
                    "start", "--pgdata=\(data)", "--log=\(log)", "--wait", "--timeout=\(Self.startLimit.components.seconds)",
                    "--silent",
                ],
                user: folder.user, folder: folder.path
            ).run(within: Self.startLimit + .seconds(5), time: folder.time)
        } catch {
            let words = folder.read("postgres.log").map { lastLines(of: $0) } ?? "(no log)"
            throw EmbeddedServerError("the private PostgreSQL did not start: \(error); its log \(log) ends: \(words)")
        }
        logger.info("private PostgreSQL started", metadata: ["folder": "\(folder.path)", "pid": "\(postmaster()?.pid ?? 0)"])
    }

    /// Fast shutdown, then an immediate one, then an end by force; with all its backends. Does nothing when it does not run.
    func stop() async {
        if let postmaster = postmaster() {
            // A frozen backend would hold up its master.
            for process in family() { process.signal(SIGCONT) }
            await folder.end([postmaster], with: [(SIGINT, .seconds(5)), (SIGQUIT, .seconds(2))])
        }
        // Twice: what was started while the first look was taken is found by the second.
        for _ in 0..<2 { await folder.end(family(), with: [(SIGQUIT, .milliseconds(500)), (SIGKILL, .seconds(2))]) }
        if family().isEmpty { return }
        logger.error("a process of the private PostgreSQL could not be ended", metadata: ["folder": "\(folder.path)"])
    }

    // MARK: - Who runs there

    /// The master whose pid file lies in our data folder and whose command line names that folder.
    func postmaster() -> RunningProcess? {
        guard let line = folder.read("data/postmaster.pid")?.split(separator: "\n").first, let pid = Int32(line),
            let process = RunningProcess(pid: pid), isOurs(process.arguments)
        else { return nil }
        return process
    }

    /// Pure: whether this command line is a master of our data folder.
    func isOurs(_ arguments: [String]) -> Bool {
        guard let program = arguments.first?.split(separator: "/").last, program == "postgres" else { return false }
        return zip(arguments, arguments.dropFirst()).contains { $0 == "-D" && $1 == data } || arguments.contains("-D\(data)")
    }

    /// Everything of PostgreSQL that works in our folder, the master included, and what makes the data or is about to become a master: until
    /// that has gone into its data and written its pid file, it works where `pg_ctl` was started.
    private func family() -> [RunningProcess] {
        RunningProcess.working(below: folder.path).filter { isOfPostgres($0.arguments) }
    }

    /// Pure: whether this command line, seen in our folder, is one of PostgreSQL's programs, or the shell by which one of them starts another.
    func isOfPostgres(_ arguments: [String]) -> Bool {
        guard let program = arguments.first?.split(separator: "/").last else { return false }
        if program == "sh" { return arguments.dropFirst().first == "-c" && arguments.contains { $0.contains("/postgres\" ") } }
        return program.hasPrefix("postgres") || ["initdb", "pg_ctl"].contains(program)
    }

    /// Takes over a server that outlived a killed healthd, once it answers.
    ///
    /// - Returns: false when it runs with other settings, or does not get ready.
    private func adopt(_ running: RunningProcess) async throws -> Bool {
        guard folder.read("data/postgresql.conf") == settings else { return false }
        for process in family() { process.signal(SIGCONT) }
        let giveUpAt = folder.time.now() + .seconds(10)
        while running.isRunning, folder.time.now() < giveUpAt {
            try Task.checkCancellation()
            if isReady() {
                logger.info(
                    "took over the private PostgreSQL of an earlier start",
                    metadata: ["folder": "\(folder.path)", "pid": "\(running.pid)"])
                return true
            }
            await nap()
        }
        return false
    }

    /// The eighth line of the pid file. Source: PostgreSQL 15, `src/include/utils/pidfile.h`.
    private func isReady() -> Bool {
        let lines = folder.read("data/postmaster.pid")?.split(separator: "\n", omittingEmptySubsequences: false) ?? []
        return lines.count > 7 && lines[7].hasPrefix("ready")
    }

    /// Backends without a master hold the shared memory and keep a new master from starting; a pid file whose id went to a stranger, too.
    private func clean() async throws(EmbeddedServerError) {
        let orphans = family()
        if !orphans.isEmpty {
            logger.warning("ending what a killed PostgreSQL left behind", metadata: ["processes": "\(orphans.count)"])
            guard await folder.end(orphans, with: [(SIGQUIT, .seconds(2)), (SIGKILL, .seconds(2))]) else {
                throw EmbeddedServerError("processes of an earlier PostgreSQL in \(data) do not end; see ps")
            }
        }
        unlink("\(data)/postmaster.pid")
        unlink("\(folder.path)/\(Self.socket).lock")
        unlink("\(folder.path)/\(Self.socket)")
    }

    // MARK: - Data and settings

    /// Made under another name and moved into place: a start that was killed half-way leaves no half database.
    private func initialise(_ binaries: String) async throws {
        let fresh = "\(folder.path)/data.\(getpid()).new"
        logger.info("initialising a private PostgreSQL", metadata: ["folder": "\(folder.path)"])
        func run(_ program: String, _ arguments: [String], input: String = "") async throws {
            try await ServerCommand(
                program: "\(binaries)/\(program)", arguments: arguments, user: folder.user, folder: folder.path, input: input
            )
            .run(within: Self.startLimit, time: folder.time)
        }
        do {
            try await run(
                "initdb",
                [
                    "--pgdata=\(fresh)", "--username=\(Self.role)", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8",
                    "--no-instructions", "--data-checksums",
                ])
            try await run("postgres", ["--single", "-D", fresh, "postgres"], input: "CREATE DATABASE \(Self.role);\n")
        } catch {
            // What still writes there would bring the folder back.
            await stop()
            removeFolder(fresh)
            throw error
        }
        guard rename(fresh, data) == 0 else {
            throw EmbeddedServerError("\(data) cannot be put into place: \(String(cString: strerror(errno)))")
        }
    }

    /// Compared as a whole to decide whether a running server may be taken over.
    var settings: String {
        """
        # Written by healthd at each start; changes are lost.
        listen_addresses = ''
        unix_socket_directories = '\(folder.path)'
        unix_socket_permissions = 0700
        port = 5432
        max_connections = \(connections)
        shared_buffers = 32MB
        max_wal_size = 256MB
        min_wal_size = 32MB
        wal_level = minimal
        max_wal_senders = 0
        fsync = on
        jit = off
        max_worker_processes = 2
        max_parallel_workers_per_gather = 0
        track_io_timing = on
        # A client that was killed must not keep its query running, nor its locks.
        client_connection_check_interval = 1s
        log_min_messages = warning
        log_line_prefix = '%m [%p] '
        log_timezone = 'UTC'
        timezone = 'UTC'
        datestyle = 'iso, ymd'
        lc_messages = 'C.UTF-8'
        lc_monetary = 'C.UTF-8'
        lc_numeric = 'C.UTF-8'
        lc_time = 'C.UTF-8'
        default_text_search_config = 'pg_catalog.english'

        """
    }

    private func truncateLog() {
        var status = stat()
        if lstat(log, &status) == 0, status.st_size > 4 << 20 { unlink(log) }
    }
}
