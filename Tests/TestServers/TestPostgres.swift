import FoundationEssentials
import Glibc
import Synchronization

/// A private PostgreSQL in a temporary folder: `initdb`'d, on a unix socket (and a loopback port when asked for).
///
/// Durability is off, so it is fast and worthless after a crash of the machine. It ends with this process, also after `kill -9`.
public final class TestPostgres: Sendable {
    /// The folder with the socket; libpq takes it as `host`.
    public let socketDirectory: String
    /// The loopback port, when started with `tcp: true`. On the socket the port is always 5432.
    public let tcpPort: Int?

    /// The role `app`, owner of the database `app`, over the socket.
    public var connectionString: String { connectionString(database: "app") }
    /// The role `postgres`, for what `app` may not do.
    public var superuserConnectionString: String { "postgresql:///app?host=\(socketDirectory)&user=postgres" }

    /// The role `app` on a database of another name.
    public func connectionString(database: String) -> String {
        "postgresql:///\(database)?host=\(socketDirectory)&user=app"
    }

    /// Certificates, when started with `tls: true`: `ca.crt` signed the server's (for `localhost`), one that has expired (`expired.crt`) and the
    /// one of the role `certified` (`client.crt`, `client.key`); `other.crt` signed nothing.
    public var tlsFolder: String { guardian.folder + "/tls" }

    private let guardian: Guardian
    private let pid = Mutex<pid_t>(0)
    private let databases = Atomic<Int>(0)

    /// - Parameters:
    ///   - maxConnections: the server's limit.
    ///   - tcp: also listens on 127.0.0.1.
    ///   - tls: speaks TLS there, and lets the role `certified` in by certificate alone. Implies `tcp`.
    ///   - certificate: the server's own, a name in `tlsFolder`.
    ///   - hba: who is let in how, in lines of pg_hba.conf, instead of everybody without a password. The socket must stay open.
    ///   - german: says everything in German.
    public static func start(
        maxConnections: Int = 100, tcp: Bool = false, tls: Bool = false, certificate: String = "server", hba: [String] = [], german: Bool = false
    ) async throws -> TestPostgres {
        let server = try TestPostgres(
            maxConnections: maxConnections, port: tcp || tls ? unusedPort() : nil, tls: tls, certificate: certificate, hba: hba, german: german)
        try await server.startAgain()
        try await server.superuserScript("CREATE ROLE app LOGIN CREATEDB; GRANT pg_monitor TO app; CREATE DATABASE app OWNER app;", database: "postgres")
        if tls { try await server.superuserScript("CREATE ROLE certified LOGIN") }
        return server
    }

    /// A standby that streams from `primary`.
    public static func startStandby(of primary: TestPostgres, tcp: Bool = false) async throws -> TestPostgres {
        let server = try TestPostgres(maxConnections: 100, port: tcp ? unusedPort() : nil, primary: primary)
        try await server.startAgain()
        return server
    }

    private init(
        maxConnections: Int, port: Int?, tls: Bool = false, certificate: String = "server", hba: [String] = [], german: Bool = false,
        primary: TestPostgres? = nil
    ) throws {
        guardian = try Guardian(
            name: "postgres", script: Self.script,
            arguments: [
                "postgres", "\(maxConnections)", port == nil ? "" : "127.0.0.1", "\(port ?? 5432)", tls ? certificate : "",
                primary?.socketDirectory ?? "", "\(primary?.tcpPort ?? 5432)", hba.joined(separator: "\n"), german ? "de_DE" : "",
            ])
        socketDirectory = guardian.folder
        tcpPort = port
    }

    private static let script = """
        bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
        last_signal=QUIT; connections=$1; listen=$2; port=$3; tls=$4; primary=$5; primary_port=$6; hba=$7; language=$8
        prepare() {
            if [ -n "$as_server" ]; then chown postgres "$folder"; fi
            cd "$folder"
            if [ -n "$primary" ]; then
                $as_server "$bin/pg_basebackup" -D "$folder/data" -h "$primary" -p "$primary_port" -U postgres -c fast -R --no-sync
                return
            fi
            $as_server "$bin/initdb" -D "$folder/data" -U postgres --auth=trust --no-sync --no-instructions -E UTF8 --locale=C.UTF-8
            if [ -n "$hba" ]; then printf '%s\\n' "$hba" >"$folder/data/pg_hba.conf"; fi
            if [ -n "$language" ]; then mkdir "$folder/locale" && localedef -i "$language" -f UTF-8 "$folder/locale/$language.UTF-8"; fi
            if [ -n "$tls" ]; then certify; fi
        }
        certify() {
            mkdir "$folder/tls" && cd "$folder/tls" || return
            key="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
            for name in ca other; do openssl req -x509 $key -days 2 -subj "/CN=$name" -keyout $name.key -out $name.crt; done
            sign() {
                openssl req $key -subj "/CN=$2" -keyout "$1.key" -out "$1.csr"
                printf 'subjectAltName=DNS:%s' "$2" >"$1.ext"
                openssl x509 -req -days "${3:-2}" -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -extfile "$1.ext" -out "$1.crt"
                chmod 600 "$1.key"
            }
            sign server localhost
            sign expired localhost -1
            sign client certified
            if [ -n "$as_server" ]; then chown postgres "$tls.key"; fi
            sed -i '1i hostssl all certified all cert' "$folder/data/pg_hba.conf"
        }
        launch() {
            rm -f "$folder/data/postmaster.pid"
            if [ -n "$language" ]; then export LOCPATH="$folder/locale"; fi
            $as_server "$bin/postgres" -D "$folder/data" -k "$folder" -p 5432 -c listen_addresses= \\
                -c max_connections="$connections" -c shared_buffers=16MB -c fsync=off -c synchronous_commit=off \\
                -c full_page_writes=off -c autovacuum=off -c jit=off -c log_min_messages=warning ${listen:+-c listen_addresses=$listen -p $port} \\
                ${tls:+-c ssl=on -c ssl_cert_file=$folder/tls/$tls.crt -c ssl_key_file=$folder/tls/$tls.key -c ssl_ca_file=$folder/tls/ca.crt} \\
                ${language:+-c lc_messages=$language.UTF-8} -c unix_socket_permissions=0777 >>"$folder/postgres.log" 2>&1 &
            pid=$!
        }
        ready() { "$bin/pg_isready" -q -h "$folder" -p "$port"; }
        """

    /// Starts the stopped server on its old data and socket.
    public func startAgain() async throws {
        let answer = try await guardian.ask("start")
        pid.withLock { $0 = pid_t(answer.split(separator: " ").last ?? "") ?? 0 }
        if tcpPort != nil { linkStandardSocket() }
    }

    /// Starts the server anew as a standby of nobody on its old socket: it answers, and takes no writes.
    public func demote() async throws {
        try await stop()
        guard FileManager.default.createFile(atPath: socketDirectory + "/data/standby.signal", contents: nil) else {
            throw TestServerError("cannot write standby.signal")
        }
        try await startAgain()
    }

    /// Fast shutdown: clients are disconnected.
    public func stop() async throws {
        _ = try await guardian.ask("stop")
    }

    /// Stops every process of the server with SIGSTOP: sockets stay open, nothing answers.
    public func freeze() {
        signalAll(SIGSTOP)
    }

    /// Stops the process that takes connections and cancel requests; those that serve go on.
    public func freezePostmaster() {
        kill(pid.withLock { $0 }, SIGSTOP)
    }

    /// The opposite of both.
    public func thaw() {
        signalAll(SIGCONT)
    }

    /// An empty database of its own for one test, owned by `app`; answers its connection string.
    ///
    /// - Parameter encoding: another than UTF8.
    public func makeDatabase(encoding: String? = nil) async throws -> String {
        let name = "test_\(databases.add(1, ordering: .relaxed).newValue)"
        try await superuserScript("CREATE DATABASE \(name) OWNER app \(encoding.map { "TEMPLATE template0 ENCODING '\($0)' LOCALE 'C'" } ?? "")", database: "postgres")
        return connectionString(database: name)
    }

    /// Runs statements as the superuser through `psql`; answers what it printed, unaligned and without headings.
    @discardableResult
    public func superuserScript(_ sql: String, database: String = "app") async throws -> String {
        let statements = sql.split(separator: ";").map { String($0) }.filter { !$0.allSatisfy(\.isWhitespace) }
        let arguments = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h", socketDirectory, "-p", "\(tcpPort ?? 5432)", "-d", database]
        return try await run("psql", arguments + statements.flatMap { ["-c", $0] })
    }

    // With -p PORT the socket's name carries that port too; clients of ours expect 5432 on the socket.
    private func linkStandardSocket() {
        unlink(socketDirectory + "/.s.PGSQL.5432")
        symlink(".s.PGSQL.\(tcpPort ?? 5432)", socketDirectory + "/.s.PGSQL.5432")
    }

    // Each backend is a session of its own, so there is no process group to signal: walk the children.
    private func signalAll(_ signal: Int32) {
        let postmaster = pid.withLock { $0 }
        guard postmaster > 0 else { return }
        kill(postmaster, signal)
        for name in (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? [] {
            guard let child = pid_t(name), let stat = try? String(contentsOfFile: "/proc/\(name)/stat", encoding: .utf8),
                let fields = stat.split(separator: ")").last?.split(separator: " "), fields.count > 1, pid_t(fields[1]) == postmaster
            else { continue }
            kill(child, signal)
        }
    }
}
