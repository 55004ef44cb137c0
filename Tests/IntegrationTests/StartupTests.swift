import Blackbox
import TestServers
import Testing
import Vitals

extension IntegrationTests {
    /// The main ways of saying where the servers are; `scripts/prove startup` has all of them.
    @Suite struct StartupTests {
        /// With the server's port, its socket's folder, and a service file that names it.
        struct Way: Sendable, CustomTestStringConvertible {
            let testDescription: String
            let environment: @Sendable (_ port: Int, _ socket: String, _ file: String) -> [String: String]

            init(_ what: String, _ environment: @escaping @Sendable (Int, String, String) -> [String: String]) {
                testDescription = what
                self.environment = environment
            }
        }

        private static let ways = [
            Way("an address") { port, _, _ in ["DATABASE_URL": "postgres://app@127.0.0.1:\(port)/app?connect_timeout=10"] },
            Way("a name") { port, _, _ in ["DATABASE_URL": "postgres://app@localhost:\(port)/app"] },
            Way("several hosts, the first refuses") { port, _, _ in ["DATABASE_URL": "postgres://app@127.0.0.9:\(port),localhost:\(port)/app"] },
            Way("several hosts, the first is unknown") { port, _, _ in ["DATABASE_URL": "postgres://app@no-such-host.invalid,localhost/app?port=\(port)"] },
            Way("a socket in the host's place") { port, socket, _ in
                ["DATABASE_URL": "postgres://app@\(socket.replacing("/", with: "%2F")):\(port)/app"]
            },
            Way("a socket as a parameter") { port, socket, _ in ["DATABASE_URL": "postgres:///app?user=app&host=\(socket)&port=\(port)"] },
            Way("keywords and values") { port, _, _ in ["DATABASE_URL": "host=localhost port=\(port) dbname=app user=app"] },
            Way("variables") { port, _, _ in ["PGHOST": "localhost", "PGPORT": "\(port)", "PGUSER": "app", "PGDATABASE": "app"] },
            Way("a service") { _, _, file in ["PGSERVICE": "mydb", "PGSERVICEFILE": file] },
            Way("a service in the URL") { _, _, file in ["DATABASE_URL": "postgres://?service=mydb", "PGSERVICEFILE": file] },
        ]

        @Test func `a database is found by each way of naming it`() async throws {
            let server = try await TestPostgres.start(tcp: true)
            let port = try #require(server.tcpPort)
            let folder = try TemporaryFolder("startup")
            let file = try folder.write("[mydb]\nhost=localhost\nport=\(port)\ndbname=app\nuser=app\n", to: "service")
            for way in Self.ways {
                let (status, output) = try await verb("migrate", "up", environment: way.environment(port, server.socketDirectory, file), in: folder)
                #expect(status == 0, "\(way.testDescription): \(output)")
            }
        }

        @Test func `a Redis user's password may stand in a file that ends as Windows ends lines`() async throws {
            let postgres = try await TestPostgres.start()
            let redis = try await TestRedis.start(tcp: true, password: "secret")
            let folder = try TemporaryFolder("startup")
            let file = try folder.write("secret\r\n", to: "password")
            let settings = """
                database: { url: "\(postgres.connectionString)" }
                cache: { url: "redis://default@localhost:\(redis.tcpPort ?? 0)", password-file: \(file) }
                """
            let healthd = try await Healthd.start(settings)
            try await eventually("Redis is well") { try await healthd.verdict("redis") == "healthy" }
            try await healthd.end()
        }

        @Test(arguments: [
            ["DATABASE_URL": "postgres://app:canary/et@db/app"], ["DATABASE_URL": "postgres://db:65536/app"],
            ["DATABASE_URL": "postgres://db/app", "REDIS_URL": "rediss://:canary@h"], ["PGSERVICE": "none", "PGSERVICEFILE": "/dev/null"],
        ])
        func `what cannot be used is refused before anything is started`(environment: [String: String]) async throws {
            let folder = try TemporaryFolder("startup")
            let (status, output) = try await verb("check-config", environment: environment, in: folder)
            #expect(status == 78 && !output.contains("canary"), "\(output)")
        }

        private func verb(_ words: String..., environment: [String: String], in folder: TemporaryFolder) async throws -> (status: Int32, output: String) {
            let program = try Program(
                [Healthd.binary] + words, log: "\(folder.path)/log.\(MonotonicInstant.now().nanoseconds)", environment: environment)
            return (try await program.ended(), program.output)
        }
    }
}
