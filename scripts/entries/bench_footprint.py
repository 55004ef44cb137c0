"""Resident memory under the demo's load and cold start to the first /metrics, beside prometheus-postgres-exporter.

BENCH_MINUTES (10) is how long the load runs, BENCH_STARTS (7) how often each program is started.
"""
import os
import pathlib
import re
import statistics
import subprocess
import time

from servers import Daemon, end, folder, memory, postgres, until, unused_port
import http.client

# As Prometheus asks.
HEADERS = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", "Accept-Encoding": "gzip"}


def scrape(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/metrics", headers=HEADERS)
        answer = connection.getresponse()
        answer.read()
        return answer.status == 200
    finally:
        connection.close()


def exporter(connection_string, port):
    name = "prometheus-postgres-exporter"
    return subprocess.Popen([name, f"--web.listen-address=127.0.0.1:{port}"], env={**os.environ, "DATA_SOURCE_NAME": connection_string},
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def unit_memory_high(root):
    """The limit that the shipped unit sets, in kB."""
    text = (root / "systemd" / "healthd.service").read_text()
    return int(re.search(r"^MemoryHigh=(\d+)M", text, re.M).group(1)) * 1024


def under_load(report, healthd, minutes):
    with folder("footprint") as base:
        daemon = Daemon(healthd, f"{base}/state", arguments=["--embedded", "--demo"], log=f"{base}/log")
        other = None
        try:
            until("healthd answers", daemon.answers)
            until("all is well", daemon.is_well, limit=60)
            # The exporter watches the same server: the embedded one, found by its socket.
            # A path that begins with a blank would be none of ours; the postmaster's own file says where the socket is.
            pidfile = next(pathlib.Path(base).rglob("postmaster.pid")).read_text().splitlines()
            database = daemon.json("/api/health").get("database", "postgres")
            port = unused_port()
            other = exporter(f"host={pidfile[4]} port={pidfile[3]} user={os.environ.get('BENCH_EMBEDDED_USER', 'postgres')} dbname={database} sslmode=disable", port)
            until("the exporter answers", lambda: scrape(port))
            report.say(f"{minutes:g} minutes of demo load, each scraped every 5 s")
            samples, answered, asked = [], 0, 0
            finish = time.monotonic() + minutes * 60
            while time.monotonic() < finish:
                for target in (daemon.port, port):
                    asked += 1
                    answered += scrape(target)
                samples.append({"healthd": memory(daemon.pid), "exporter": memory(other.pid)})
                time.sleep(min(5, max(0.0, finish - time.monotonic())))
            report.check("every scrape of both was answered", answered == asked, f"{answered} of {asked}")
            last = {who: {key: statistics.median(sample[who][key] for sample in samples[-5:]) for key in ("VmRSS", "RssAnon", "RssFile")}
                    for who in ("healthd", "exporter")}
            ratio = last["healthd"]["VmRSS"] / last["exporter"]["VmRSS"]
            report.figures["memory"] = {"minutes": minutes, "kB": last, "healthd_to_exporter": round(ratio, 2),
                                        "healthd_kB_by_sample": [sample["healthd"]["VmRSS"] for sample in samples][::max(1, len(samples) // 60)]}
            megabytes = {who: {key: f"{value / 1024:.1f}" for key, value in values.items()} for who, values in last.items()}
            for who, values in megabytes.items():
                report.say(f"{who:9} resident {values['VmRSS']} MB (anonymous {values['RssAnon']}, of files {values['RssFile']})")
            limit = unit_memory_high(report.root)
            report.check("resident memory stays under the unit's MemoryHigh", last["healthd"]["VmRSS"] < limit,
                         f"{megabytes['healthd']['VmRSS']} MB of {limit // 1024} MB; {ratio:.2f} times the exporter's")
            report.check("healthd ends with 0", daemon.end() == 0)
        finally:
            daemon.end()
            if other:
                end(other)


def cold(start, port, starts):
    """Milliseconds from fork to the first 200 of /metrics."""
    times = []
    for _ in range(starts):
        began = time.perf_counter()
        process = start()
        try:
            until("the first /metrics", lambda: scrape(port), limit=20, pause=0.001)
            times.append((time.perf_counter() - began) * 1000)
        finally:
            end(process)
    return {"median_ms": round(statistics.median(times), 1), "min_ms": round(min(times), 1), "max_ms": round(max(times), 1)}


def cold_start(report, healthd, starts):
    with postgres() as url, folder("cold") as base:
        configuration = f"{base}/healthd.yaml"
        pathlib.Path(configuration).write_text(f"database: {{ url: \"{url}\" }}\n")
        subprocess.run([healthd, "migrate", "up", "--config", configuration], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port, other = unused_port(), unused_port()
        figures = {
            "healthd": cold(lambda: Daemon(healthd, f"{base}/state", port, configuration, log=f"{base}/log").process, port, starts),
            "exporter": cold(lambda: exporter(url, other), other, starts)}
        ratio = figures["healthd"]["median_ms"] / figures["exporter"]["median_ms"]
        report.figures["cold_start"] = {**figures, "starts": starts, "healthd_to_exporter": round(ratio, 2)}
        for who, values in figures.items():
            report.say(f"{who:9} first /metrics after {values['median_ms']} ms (median of {starts}; {values['min_ms']} to {values['max_ms']})")
        report.check("the first /metrics comes within a second", figures["healthd"]["median_ms"] < 1000, f"{ratio:.2f} times the exporter's")


def run(report, healthd):
    cold_start(report, healthd, int(os.environ.get("BENCH_STARTS", "7")))
    under_load(report, healthd, float(os.environ.get("BENCH_MINUTES", "10")))
