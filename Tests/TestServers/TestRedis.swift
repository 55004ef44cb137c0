import Glibc
import Synchronization

/// A private Redis in a temporary folder, on a unix socket (and a loopback port when asked for); ends with this process.
public final class TestRedis: Sendable {
    /// The path of the unix socket.
    public let socketPath: String
    public let tcpPort: Int?

    /// `unix:///…/redis.sock`
    public var connectionString: String { "unix://\(socketPath)" }

    private let guardian: Guardian
    private let pid = Mutex<pid_t>(0)

    /// - Parameter options: for `redis-server`, none with a blank: `--rename-command`, `EVAL`, `HIDDEN`.
    public static func start(tcp: Bool = false, password: String? = nil, options: [String] = []) async throws -> TestRedis {
        let server = try TestRedis(port: tcp ? unusedPort() : nil, password: password, options: options)
        try await server.startAgain()
        return server
    }

    private init(port: Int?, password: String?, options: [String]) throws {
        guardian = try Guardian(name: "redis", script: Self.script, arguments: ["nobody", "\(port ?? 0)", password ?? ""] + options)
        socketPath = guardian.folder + "/redis.sock"
        tcpPort = port
    }

    private static let script = """
        last_signal=KILL; port=$1; password=$2; shift 2; options=$*
        prepare() { if [ -n "$as_server" ]; then chown nobody "$folder"; as_server="setpriv --reuid=nobody --regid=nogroup --clear-groups --"; fi; }
        launch() {
            rm -f "$folder/redis.sock"
            $as_server redis-server --port "$port" --bind 127.0.0.1 --unixsocket "$folder/redis.sock" --unixsocketperm 777 \\
                --databases 256 --save '' --appendonly no --dir "$folder" --daemonize no ${password:+--requirepass "$password"} $options >>"$folder/redis.log" 2>&1 &
            pid=$!
        }
        ready() { redis-cli -s "$folder/redis.sock" ping | grep -E 'PONG|NOAUTH'; }
        """

    /// Starts the stopped server, empty, on its old socket.
    public func startAgain() async throws {
        let answer = try await guardian.ask("start")
        pid.withLock { $0 = pid_t(answer.split(separator: " ").last ?? "") ?? 0 }
    }

    public func stop() async throws {
        _ = try await guardian.ask("kill")
    }

    public func freeze() {
        kill(pid.withLock { $0 }, SIGSTOP)
    }

    public func thaw() {
        kill(pid.withLock { $0 }, SIGCONT)
    }

    /// One command through `redis-cli`; answers what it printed.
    public func command(_ words: String...) async throws -> String {
        try await run("redis-cli", ["-s", socketPath] + words)
    }
}
