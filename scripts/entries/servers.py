"""What the entries start: healthd, a private PostgreSQL, a webhook receiver. Each ends with the `with` block that made it."""
import contextlib
import http.client
import http.server
import json
import os
import pathlib
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time


def unused_port():
    """One below those the kernel gives to outgoing connections: no client comes to sit on it before our server does."""
    for port in random.sample(range(20_000, 32_000), 1_000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            return port
    raise OSError("no free port from 20000 to 32000")


@contextlib.contextmanager
def folder(name):
    """A temporary folder that every user may enter, as PostgreSQL runs as one of its own."""
    path = tempfile.mkdtemp(prefix=f"healthd-{name}-", dir="/var/tmp")
    os.chmod(path, 0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def as_postgres(words):
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *words] if os.geteuid() == 0 else words


def until(what, condition, limit=30.0, pause=0.01):
    """Waits until `condition` answers something true, and answers that."""
    end = time.monotonic() + limit
    reason = ""
    while time.monotonic() < end:
        try:
            answer = condition()
            if answer:
                return answer
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = f"; last error: {error!r}"
        time.sleep(pause)
    raise TimeoutError(f"{what}: not within {limit} s{reason}")


def end(process, how=signal.SIGTERM, limit=20):
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return process.returncode


@contextlib.contextmanager
def postgres(port=None, connections=100):
    """A private PostgreSQL, trusting everybody; answers the connection string of its database `app`.

    It listens on a unix socket; where a port is given, on 127.0.0.1 as well, and then that is what the connection string names.
    """
    bin = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    with folder("postgres") as base:
        if os.geteuid() == 0:
            os.chown(base, pwd.getpwnam("postgres").pw_uid, -1)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
        subprocess.run(as_postgres([f"{bin}/initdb", "-D", f"{base}/data", "-U", "app", "--auth=trust", "--no-sync"]), check=True, **quiet)
        server = subprocess.Popen(as_postgres([
            f"{bin}/postgres", "-D", f"{base}/data", "-k", base, "-p", str(port or 5432), "-c", f"listen_addresses={'127.0.0.1' if port else ''}",
            "-c", f"max_connections={connections}", "-c", "fsync=off", "-c", "autovacuum=off"]), **quiet)
        try:
            place = ["-h", base, "-p", str(port or 5432)]
            until("PostgreSQL is ready", lambda: subprocess.run([f"{bin}/pg_isready", "-q", *place], **quiet).returncode == 0)
            subprocess.run([f"{bin}/createdb", *place, "-U", "app", "app"], check=True, **quiet)
            yield f"postgresql://app@127.0.0.1:{port}/app" if port else f"postgresql:///app?host={base}&user=app"
        finally:
            end(server, signal.SIGINT)


def get(port, path, timeout=5):
    """Status and text of what is answered on a port of this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


class Daemon:
    """A running healthd."""

    def __init__(self, binary, state, listen=None, configuration=None, arguments=(), log=None):
        self.port = listen or unused_port()
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("HEALTHD_", "PG")) and key not in ("DATABASE_URL", "REDIS_URL")}
        environment.update(HEALTHD_STATE=state, HEALTHD_LISTEN=f"127.0.0.1:{self.port}")
        words = [binary, "run", *arguments] + (["--config", configuration] if configuration else [])
        self.log = open(log or os.devnull, "ab")
        self.process = subprocess.Popen(words, env=environment, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)

    @property
    def pid(self):
        return self.process.pid

    def request(self, method, path, body=None, timeout=5):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body=body and json.dumps(body), headers={"Content-Type": "application/json"} if body else {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def get(self, path, timeout=5):
        return self.request("GET", path, timeout=timeout)

    def json(self, path):
        return json.loads(self.get(path)[1])

    def answers(self, path="/livez"):
        if self.process.poll() is not None:
            raise RuntimeError(f"healthd ended with {self.process.returncode}; see its log")
        return self.get(path, timeout=2)[0] == 200

    def is_well(self):
        return self.json("/api/health")["status"] == "pass"

    def end(self, how=signal.SIGTERM):
        status = end(self.process, how)
        self.log.close()
        return status


class Receiver:
    """A webhook receiver that answers with 200, 500 or not at all, as it is told, and remembers what it accepted and refused."""

    def __init__(self):
        self.behaviour = "200"
        self.deliveries = []
        self.lock = threading.Lock()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with receiver.lock:
                    behaviour = receiver.behaviour
                    receiver.deliveries.append({
                        "at": time.time(), "answer": behaviour, "id": self.headers.get("webhook-id", ""), "body": json.loads(body)})
                if behaviour == "hang":
                    # As a receiver that took the request and never came back; the sender has to give up by itself.
                    time.sleep(3)
                    self.close_connection = True
                    return
                self.send_response(int(behaviour))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def accepted(self):
        with self.lock:
            return [delivery for delivery in self.deliveries if delivery["answer"] == "200"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()


def memory(pid):
    """Resident memory in kB, in all and by kind."""
    fields = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status"))
    return {key: int(fields[key].split()[0]) for key in ("VmRSS", "RssAnon", "RssFile")}
