/// A private PgBouncer in transaction mode before a `TestPostgres`, on a unix socket; ends with this process.
public final class TestPgBouncer: Sendable {
    /// The folder with the socket; libpq takes it as `host`, with port 6432.
    public let socketDirectory: String
    public static let port = 6_432

    private let guardian: Guardian

    /// - Parameter serverConnections: for each database and role; clients share them.
    public static func start(before server: TestPostgres, serverConnections: Int) async throws -> TestPgBouncer {
        let pooler = try TestPgBouncer(server: server, serverConnections: serverConnections)
        _ = try await pooler.guardian.ask("start")
        return pooler
    }

    private init(server: TestPostgres, serverConnections: Int) throws {
        guardian = try Guardian(
            name: "pgbouncer", script: Self.script,
            arguments: ["postgres", server.socketDirectory, "\(serverConnections)", "\(Self.port)"])
        socketDirectory = guardian.folder
    }

    private static let script = """
        bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
        last_signal=INT; server=$1; connections=$2; port=$3
        prepare() {
            if [ -n "$as_server" ]; then chown postgres "$folder"; fi
            printf '"%s" ""\\n' app postgres >"$folder/users"
            cat >"$folder/pgbouncer.ini" <<END
        [databases]
        * = host=$server port=5432
        [pgbouncer]
        listen_port = $port
        unix_socket_dir = $folder
        unix_socket_mode = 0777
        auth_type = trust
        auth_file = $folder/users
        admin_users = postgres
        pool_mode = transaction
        default_pool_size = $connections
        max_client_conn = 400
        END
        }
        launch() {
            $as_server /usr/sbin/pgbouncer "$folder/pgbouncer.ini" >>"$folder/pgbouncer.log" 2>&1 &
            pid=$!
        }
        ready() { "$bin/pg_isready" -q -h "$folder" -p "$port"; }
        """
}
