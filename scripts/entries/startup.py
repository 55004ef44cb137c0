"""What a row of prove_startup is, and the real servers that rows name."""
import base64
import contextlib
import dataclasses
import http.server
import json
import os
import pathlib
import pwd
import signal
import socket
import subprocess
import threading
import urllib.parse

from servers import as_postgres, end, folder, get, unused_port, until

# Every character that a URL gives a meaning to, a blank and two letters beyond ASCII.
PASSWORD = "p%:/?#[]@!$&'()*+,;= ü€"


@dataclasses.dataclass
class Row:
    """One way of saying where a server is: what the program is given, and what it must do."""
    what: str
    # `run` is started and must come to be ready, and its cache to be up where one is named; any other verb runs to its end.
    verb: str = "migrate status"
    env: dict = dataclasses.field(default_factory=dict)
    yaml: str = ""
    status: int = 0
    says: tuple = ()
    never: tuple = ()
    # What the receiver must have been sent as user and password.
    basic: str | None = None
    # It needs names of the proof's own, which takes root.
    names: bool = False

    def try_on(self, at):
        """Why it does not hold, or nothing."""
        environment = {"PATH": os.environ["PATH"], "HOME": at.home, "HEALTHD_STATE": f"{at.home}/state", **self.env}
        words = at.words(self.verb, self.yaml)
        if self.verb == "run":
            return self.try_running(at, words, environment)
        at.authorizations.clear()
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
        return self.judged(done.returncode, done.stdout + done.stderr, at)

    def try_running(self, at, words, environment):
        port = unused_port()
        with open(f"{at.home}/log", "w+") as log:
            process = subprocess.Popen(words, env={**environment, "HEALTHD_LISTEN": f"127.0.0.1:{port}"}, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
            try:
                until("it is ready and its servers are up", lambda: process.poll() is not None or self.is_up(port), limit=20, pause=0.1)
            except TimeoutError as error:
                return f"{error}; {pathlib.Path(log.name).read_text()[-600:]}"
            finally:
                status = end(process)
            return self.judged(status, pathlib.Path(log.name).read_text(), at)

    @staticmethod
    def is_up(port):
        checks = json.loads(get(port, "/api/health", timeout=2)[1])["checks"]
        servers = [check for name in ("postgres", "redis") for check in checks.get(name, [])]
        return get(port, "/readyz", timeout=2)[0] == 200 and all(check["status"] == "pass" for check in servers)

    def judged(self, status, output, at):
        if status != self.status:
            return f"exit {status}, expected {self.status}: {output.strip()[-400:]}"
        for word in self.says:
            if word not in output:
                return f"does not say {word!r}: {output.strip()[-400:]}"
        sent = base64.b64encode((self.basic or "").encode()).decode()
        for word in (*self.never, at.password, *([sent] if sent else [])):
            if word in output:
                return f"says {word!r}"
        if self.basic is not None and set(at.authorizations) != {"Basic " + sent}:
            return f"sent {at.authorizations} as Authorization"
        return ""


class Place:
    """The servers, and what a row has to know of them."""

    def __init__(self, binary, home):
        self.binary, self.home = binary, home
        self.password, self.quoted = PASSWORD, urllib.parse.quote(PASSWORD, safe="")
        self.user, self.quoted_user = "the:app/@ü", urllib.parse.quote("the:app/@ü", safe="")
        self.has_root = os.geteuid() == 0
        self.authorizations = []
        self.files = 0

    def file(self, content, mode=0o600):
        """The path of a new file."""
        self.files += 1
        path = f"{self.home}/file.{self.files}"
        pathlib.Path(path).write_bytes(content if isinstance(content, bytes) else content.encode())
        os.chmod(path, mode)
        return path

    def words(self, verb, yaml):
        words = [self.binary, *verb.split()]
        if yaml:
            words += ["--config", self.file(yaml)]
        if not self.has_root:
            return words
        # Names of our own, for this one program.
        return ["unshare", "-m", "sh", "-c", 'mount --make-rprivate / && mount --bind "$0" /etc/hosts && exec "$@"', self.hosts, *words]


@contextlib.contextmanager
def place(binary):
    with folder("startup") as home, contextlib.ExitStack() as stack:
        at = Place(binary, home)
        os.mkdir(f"{home}/state")
        stack.enter_context(postgres(at))
        stack.enter_context(redis(at))
        stack.enter_context(receiver(at))
        # ::1 leads to the same servers by other ports alone, so that at their own ports nobody listens there.
        at.postgres6 = stack.enter_context(forwarder(at.postgres))
        at.redis6 = stack.enter_context(forwarder(at.redis))
        at.receiver6 = stack.enter_context(forwarder(at.receiver))
        at.silent = stack.enter_context(silence())
        at.hosts = at.file(
            "127.0.0.1 localhost\n127.0.0.1 db.internal cache.internal hooks.internal\n"
            "::1 several.internal\n127.0.0.9 several.internal\n127.0.0.1 several.internal\n127.0.0.9 dead.internal\n", 0o644)
        yield at


@contextlib.contextmanager
def postgres(at):
    """Passwords for all but the superuser on its socket; TLS, with a certificate for db.internal and localhost."""
    bin = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    base, at.postgres = f"{at.home}/postgres", unused_port()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
    os.mkdir(base)
    if at.has_root:
        os.chown(base, pwd.getpwnam("postgres").pw_uid, -1)
    at.socket, at.ca = base, f"{base}/server.crt"
    subprocess.run(as_postgres([f"{bin}/initdb", "-D", f"{base}/data", "-U", "postgres", "--auth=trust", "--no-sync"]), check=True, **quiet)
    subprocess.run(as_postgres([
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=db.internal",
        "-addext", "subjectAltName=DNS:db.internal,DNS:localhost", "-keyout", f"{base}/server.key", "-out", at.ca]), check=True, **quiet)
    pathlib.Path(f"{base}/data/pg_hba.conf").write_text(
        "local all postgres trust\nlocal all all scram-sha-256\nhostssl all all 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n")
    server = subprocess.Popen(as_postgres([
        f"{bin}/postgres", "-D", f"{base}/data", "-p", str(at.postgres), "-c", f"unix_socket_directories={base},@{base}", "-c", "listen_addresses=127.0.0.1",
        "-c", "fsync=off", "-c", "ssl=on", "-c", f"ssl_cert_file={at.ca}", "-c", f"ssl_key_file={base}/server.key"]), **quiet)
    try:
        to = ["-h", base, "-p", str(at.postgres), "-U", "postgres"]
        until("PostgreSQL is ready", lambda: subprocess.run([f"{bin}/pg_isready", "-q", *to], **quiet).returncode == 0)

        def name(text):
            return '"' + text.replace('"', '""') + '"'
        password = at.password.replace("'", "''")
        script = (f"CREATE ROLE {name(at.user)} LOGIN PASSWORD '{password}';\nCREATE ROLE app LOGIN PASSWORD 'simple';\nCREATE DATABASE app OWNER app;\n"
                  f"GRANT app TO {name(at.user)};\nCREATE DATABASE {name('a/b@c d')} OWNER app;\n")
        subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", *to, "-d", "postgres"], input=script.encode(), check=True)
        for database in ("app", "a%2Fb%40c%20d"):
            url = f"postgres://app:simple@127.0.0.1:{at.postgres}/{database}"
            subprocess.run([at.binary, "migrate", "up"], env={"PATH": os.environ["PATH"], "DATABASE_URL": url}, check=True, **quiet)
        yield
    finally:
        end(server, signal.SIGINT)


@contextlib.contextmanager
def redis(at):
    base, at.redis = f"{at.home}/redis", unused_port()
    os.mkdir(base)
    at.redis_socket = f"{base}/redis socket"
    pathlib.Path(f"{base}/conf").write_text(
        f"port {at.redis}\nbind 127.0.0.1\ndir {base}\nsave \"\"\nunixsocket \"{at.redis_socket}\"\nunixsocketperm 777\n"
        "user default on >simple ~* &* +@all\nuser app on >simple ~* &* +@all\nuser free on nopass ~* &* +@all\nuser app@x on >simple ~* &* +@all\n")
    server = subprocess.Popen(["redis-server", f"{base}/conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        def ask(*words):
            done = subprocess.run(["redis-cli", "-p", str(at.redis), "--user", "default", "--pass", "simple", "--no-auth-warning", *words], capture_output=True, text=True)
            return done.stdout.strip()
        until("Redis is ready", lambda: ask("PING") == "PONG")
        # A password with a blank cannot stand in the file.
        if ask("ACL", "SETUSER", "hard", "on", ">" + at.password, "~*", "&*", "+@all") != "OK":
            raise RuntimeError("Redis takes no such password")
        yield
    finally:
        end(server)


@contextlib.contextmanager
def receiver(at):
    """A webhook receiver that remembers what it is sent as Authorization."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            at.authorizations.append(self.headers.get("Authorization"))
            self.send_response(200 if self.path == "/hook?x=1" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    at.receiver = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def forwarder(port):
    """A port of ::1 that leads to `port` of 127.0.0.1; nothing where the machine has no IPv6."""
    try:
        door = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        yield None
        return

    def copy(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def serve():
        while True:
            try:
                near, _ = door.accept()
                far = socket.create_connection(("127.0.0.1", port))
            except OSError:
                return
            for pair in ((near, far), (far, near)):
                threading.Thread(target=copy, args=pair, daemon=True).start()
    threading.Thread(target=serve, daemon=True).start()
    with door:
        yield door.getsockname()[1]


@contextlib.contextmanager
def silence():
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        yield door.getsockname()[1]
