import Blackbox
import FoundationEssentials
import Glibc
import TestServers

/// PostgreSQL and Redis for all tests of this suite, started by the first that asks.
actor Neighbours {
    static let shared = Neighbours()

    private var servers: (postgres: TestPostgres, redis: TestRedis)?

    func started() async throws -> (postgres: TestPostgres, redis: TestRedis) {
        if let servers { return servers }
        let started = (try await TestPostgres.start(tcp: true), try await TestRedis.start(tcp: true))
        servers = started
        return started
    }
}

/// healthd as an administrator installs it: the unit of this tree, its binary in /usr/bin, one configuration file; in a lab.
///
/// The drop-in changes WatchdogSec, so that tests are short.
struct InstalledHealthd: Sendable {
    static let watchdog = Duration.seconds(2)

    let lab: SystemdLab
    let web: Web
    let port: Int
    let postgres: TestPostgres
    let redis: TestRedis

    /// Installs it and hands it to `body`; takes everything down afterwards.
    ///
    /// - Parameter settings: YAML beside `listen`, `database` and `cache`.
    static func with<R: Sendable>(
        _ settings: String = "", poolMax: Int = 4, start: Bool = true, _ body: (InstalledHealthd) async throws -> R
    ) async throws -> R {
        let (postgres, redis) = try await Neighbours.shared.started()
        let lab = try await SystemdLab.boot(showing: ["/usr/bin/healthd": try Healthd.binary])
        let port = try unusedPort()
        let installed = InstalledHealthd(lab: lab, web: Web(port: port), port: port, postgres: postgres, redis: redis)
        do {
            try installed.writeFiles(settings, poolMax: poolMax)
            try await lab.run("systemctl", "daemon-reload")
            if start { try await installed.start() }
            let result = try await body(installed)
            try await lab.down()
            return result
        } catch {
            let journal = (try? await lab.journal()) ?? ""
            try? await lab.down()
            throw TestServerError("\(error)\nthe journal's end:\n\(journal.suffix(4_000))")
        }
    }

    private func writeFiles(_ settings: String, poolMax: Int) throws {
        let unit = try String(contentsOfFile: "\(Healthd.root)/systemd/healthd.service", encoding: .utf8)
        try lab.write(unit, to: "/etc/systemd/system/healthd.service")
        let dropIn = """
            [Service]
            WatchdogSec=\(Self.watchdog.components.seconds)
            """
        try lab.write(dropIn, to: "/etc/systemd/system/healthd.service.d/test.conf")
        try configure(settings, poolMax: poolMax)
    }

    func configure(_ settings: String, poolMax: Int = 4) throws {
        let text = """
            listen: 127.0.0.1:\(port)
            database:
              url: postgres://app@127.0.0.1:\(postgres.tcpPort ?? 0)/app
              pool: { max: \(poolMax), min: 1 }
            cache: { url: "redis://127.0.0.1:\(redis.tcpPort ?? 0)" }
            \(settings)
            """
        try writeConfiguration(text)
    }

    func writeConfiguration(_ text: String) throws {
        try lab.write(text, to: "/etc/healthd/healthd.yaml")
    }

    func start() async throws {
        let outcome = try await lab.run("systemctl", "start", "healthd")
        guard outcome.status == 0 else { throw TestServerError("systemctl start: \(outcome.output)") }
    }

    var restarts: Int {
        get async throws { Int(try await lab.property("NRestarts")) ?? -1 }
    }

    var mainPID: Int {
        get async throws { Int(try await lab.property("MainPID")) ?? -1 }
    }
}

extension InstalledHealthd {
    /// The threshold in force at which the pool counts as degraded.
    func threshold() async throws -> Double? {
        let checks = try await web.get("/api/health").json["checks"]
        return checks["pool"].items.first { $0["rule"].string == "pool-saturation" }?["thresholds"]["degraded"].double
    }

    /// Brings the database up to date with the program's own verb, outside the unit.
    func migrate() async throws {
        let folder = try TemporaryFolder("migrate")
        let file = try folder.write("database: { url: \"postgres://app@127.0.0.1:\(postgres.tcpPort ?? 0)/app\" }\n", to: "healthd.yaml")
        let program = try Program([Healthd.binary, "migrate", "up", "--config", file], log: "\(folder.path)/log")
        let status = try await program.ended(within: .seconds(30))
        guard status == 0 else { throw TestServerError("migrate up: \(program.output)") }
    }

    /// Runs `body` while a transaction of somebody else's holds the table of workspaces and three requests want to read it.
    func whileTheWorkspacesAreLocked(_ body: () async throws -> Void) async throws {
        let folder = try TemporaryFolder("lock")
        let lock = "BEGIN; LOCK TABLE workflows IN ACCESS EXCLUSIVE MODE; SELECT 'locked'; SELECT pg_sleep(60);"
        let psql = try Program(["psql", "-X", "-q", "-t", postgres.superuserConnectionString, "-c", "BEGIN", "-c", lock], log: "\(folder.path)/log")
        try await eventually("the lock is held") {
            try await postgres.superuserScript("SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted").contains("1")
        }
        async let requests: Void = withDiscardingTaskGroup { group in
            for _ in 1...3 {
                group.addTask { _ = try? await web.get("/api/workspaces", within: .seconds(30)) }
            }
        }
        do {
            try await body()
        } catch {
            _ = try? await psql.end()
            await requests
            throw error
        }
        try await psql.end()
        await requests
    }
}
