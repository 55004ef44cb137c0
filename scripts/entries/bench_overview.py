"""What an overview costs: round trips to PostgreSQL, and how long it takes when PostgreSQL is a millisecond away.

BENCH_BEFORE names another healthd, which is then measured beside this one, turn by turn. BENCH_ROUNDS (5) is how often each is measured,
BENCH_OVERVIEWS (200) how many overviews of one client each time.
"""
import os
import pathlib
import socket
import statistics
import subprocess
import threading
import time

from servers import Daemon, folder, postgres, until, unused_port

AWAY = 0.0005


class Relay:
    """A way to PostgreSQL on which every piece takes half a millisecond, and which counts how often the client spoke after the server had."""

    def __init__(self, port):
        self.server_port = port
        self.turns = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.server_port))
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            last = [server]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self.carry, args=(source, sink, client, last), daemon=True).start()

    def carry(self, source, sink, client, last):
        try:
            while piece := source.recv(1 << 20):
                if source is client and last[0] is not client:
                    self.turns += 1
                last[0] = source
                time.sleep(AWAY)
                sink.sendall(piece)
        except OSError:
            pass
        for end in (source, sink):
            end.close()

    def close(self):
        self.listener.close()


class Measured:
    """A healthd with a relay of its own before the one database."""

    def __init__(self, binary, port, base, name):
        self.relay = Relay(port)
        configuration = pathlib.Path(base) / f"{name}.yaml"
        configuration.write_text(f"database: {{ url: \"postgresql://app@127.0.0.1:{self.relay.port}/{name}\", pool: {{ max: 4, min: 2 }} }}\n")
        self.daemon = Daemon(binary, f"{base}/state-{name}", configuration=str(configuration), log=f"{base}/{name}.log")
        until("healthd answers", self.daemon.answers)

    def overviews(self, count):
        """How long each took, in milliseconds."""
        times = []
        for _ in range(count):
            began = time.perf_counter()
            status, text = self.daemon.get("/api/workspaces/1/overview")
            times.append((time.perf_counter() - began) * 1000)
            if status != 200:
                raise ValueError(f"an overview answers {status}: {text[:200]}")
        return times

    def round_trips(self, count):
        """For each overview; what the daemon asks by itself in the same time is measured before, and taken off."""
        idle, began = self.relay.turns, time.monotonic()
        time.sleep(2)
        own = (self.relay.turns - idle) / (time.monotonic() - began)
        before, began = self.relay.turns, time.monotonic()
        self.overviews(count)
        return (self.relay.turns - before - own * (time.monotonic() - began)) / count

    def end(self):
        self.daemon.end()
        self.relay.close()


def run(report, healthd):
    rounds, count = int(os.environ.get("BENCH_ROUNDS", "5")), int(os.environ.get("BENCH_OVERVIEWS", "200"))
    programs = {"now": healthd}
    if os.environ.get("BENCH_BEFORE"):
        programs["before"] = os.environ["BENCH_BEFORE"]
    port = unused_port()
    with postgres(port), folder("overview") as base:
        for name, program in programs.items():
            report.figures[name] = {"program": program, "round_trips": [], "p50_ms": [], "p99_ms": []}
            # A database for each: another version may have other tables.
            subprocess.run(["psql", "-X", "-q", "-h", "127.0.0.1", "-p", str(port), "-U", "app", "-c", f"CREATE DATABASE {name}"], check=True)
            environment = {**os.environ, "DATABASE_URL": f"postgresql://app@127.0.0.1:{port}/{name}", "HEALTHD_STATE": base}
            for words in (["migrate", "up"], ["seed", "--scale", "small"]):
                subprocess.run([program, *words], check=True, env=environment, stdout=subprocess.DEVNULL)
        for _ in range(rounds):
            for name, program in programs.items():
                measured = Measured(program, port, base, name)
                try:
                    measured.overviews(20)
                    report.figures[name]["round_trips"].append(round(measured.round_trips(count), 2))
                    times = sorted(measured.overviews(count))
                    report.figures[name]["p50_ms"].append(round(times[len(times) // 2], 2))
                    report.figures[name]["p99_ms"].append(round(times[len(times) * 99 // 100], 2))
                finally:
                    measured.end()
    for name in programs:
        median = {key: statistics.median(values) for key, values in report.figures[name].items() if key != "program"}
        report.figures[name]["median"] = median
        report.say(f"{name:7} {median['round_trips']:.2f} round trips, p50 {median['p50_ms']:.2f} ms, p99 {median['p99_ms']:.2f} ms")
    median = report.figures["now"]["median"]
    report.check("an overview is one round trip", median["round_trips"] < 1.2, f"{median['round_trips']:.2f}")
    if "before" in programs:
        share = median["p50_ms"] / report.figures["before"]["median"]["p50_ms"]
        report.check("it takes less time than before", share < 1, f"{share:.2f} of it")
