"""A clean clone through scripts/run: every surface, the second start, Ctrl-C and kill -9; nothing stays behind.

The clone runs this checkout's release build, so that what is proved is the door and not the compiler; PROVE_CLEAN=1: it builds.
"""
import json
import os
import pathlib
import signal
import subprocess
import time

from servers import folder, get, unused_port, until

PLACES = {False: "in a clean clone", True: "in a folder nobody else may enter"}

# With something of what each must say.
SURFACES = [
    ("/", "pool"), ("/metrics", "healthd_pool_connections"), ("/livez", ""), ("/readyz", ""), ("/readyz?verbose", "ok"),
    ("/api/health", "\"status\""), ("/api/health/pool", "totalCount"), ("/api/health/pool/holders", ""), ("/api/alerts", ""),
    ("/api/workspaces", "\"id\"")]


def strays(paths):
    """Processes that have one of the paths in their words or as their working directory."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words, cwd = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(), os.readlink(entry / "cwd")
        except OSError:
            continue
        if any(path in words or cwd.startswith(path) for path in paths):
            found.append(f"{entry.name} {words.strip()}")
    return found


class Door:
    """scripts/run of a clone, as in a terminal of its own."""

    def __init__(self, clone, port, log, environment):
        self.port = port
        self.log = log
        # The log of all starts is one file; what this one prints stands behind this place.
        self.begin = os.path.getsize(log) if os.path.exists(log) else 0
        self.process = subprocess.Popen([f"{clone}/scripts/run"], env={**os.environ, **environment, "HEALTHD_LISTEN": f"127.0.0.1:{port}"},
                                        stdout=open(log, "ab"), stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)

    def until_serving(self, limit):
        def serving():
            if self.process.poll() is not None:
                raise RuntimeError(f"scripts/run ended with {self.process.returncode}:\n{open(self.log).read()[-2000:]}")
            return get(self.port, "/metrics")[0] == 200
        until("/metrics answers", serving, limit=limit)

    def healthd(self):
        """The process id that scripts/run printed."""
        def printed():
            with open(self.log) as log:
                log.seek(self.begin)
                return [line.split("process ")[1].split(".")[0] for line in log if "healthd runs, process" in line]
        return int(until("its process id is printed", printed, limit=20)[-1])

    def interrupt(self):
        """Ctrl-C: the signal goes to the whole foreground group."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(30)


def run(report, healthd):
    with folder("doors") as base:
        # As `mktemp -d` makes them: nobody else may enter.
        clone = f"{base}/clone"
        os.mkdir(f"{base}/private", 0o700)
        for private in (False, True):
            where = f"{base}/private/clone" if private else clone
            visit(report, healthd, where, f"{base}/log.{private}", PLACES[private])


def visit(report, healthd, clone, log, place):
    subprocess.run(["git", "clone", "-q", str(report.root), clone], check=True)
    environment = {} if os.environ.get("PROVE_CLEAN") == "1" and place == PLACES[False] else {"HEALTHD_BINARY": healthd}
    digest = subprocess.run(["sha256sum"], input=f"{clone}\n".encode(), capture_output=True).stdout[:12].decode()
    states = [f"{clone}/.run", f"/var/tmp/healthd-demo-{digest}"]

    def left():
        return strays([clone, states[1]]), [path for path in states if os.path.exists(path)]

    def well():
        # Ready first: a verdict may be good before the tables are there.
        until("it is ready", lambda: get(port, "/readyz")[0] == 200, limit=60)
        until("all is well", lambda: json.loads(get(port, "/api/health")[1])["status"] == "pass", limit=60)

    port = unused_port()
    door = Door(clone, port, log, environment)
    try:
        door.until_serving(limit=3000)
        well()
        until("there is demo data", lambda: '"id"' in get(port, "/api/workspaces")[1], limit=60)
        for path, word in SURFACES:
            status, text = get(port, path)
            report.check(f"{place}, {path} answers", status == 200 and word in text and len(text) > 1, status)
        status = door.interrupt()
        report.check(f"{place}, Ctrl-C ends it with 0", status == 0, status)
        report.check(f"{place}, nothing stays after Ctrl-C", left() == ([], []), left())

        began = time.monotonic()
        door = Door(clone, port, log, environment)
        door.until_serving(limit=60)
        took = time.monotonic() - began
        report.check(f"{place}, the second start serves /metrics within 5 s", took < 5, f"{took:.2f} s")
        report.figures[f"second start, {place}"] = round(took, 2)

        well()
        os.kill(door.healthd(), signal.SIGKILL)
        door.process.wait(30)
        door = Door(clone, port, log, environment)
        door.until_serving(limit=60)
        well()
        servers = [words for words in left()[0] if "bin/postgres -D" in words or "bin/postgres\" -D" in words]
        report.check(f"{place}, after kill -9 and a new start there is one PostgreSQL", len(servers) <= 1, servers)
        status = door.interrupt()
        report.check(f"{place}, Ctrl-C ends it with 0 again", status == 0, status)
        report.check(f"{place}, nothing stays after kill -9, a start and Ctrl-C", left() == ([], []), left())
    finally:
        if door.process.poll() is None:
            door.interrupt()
