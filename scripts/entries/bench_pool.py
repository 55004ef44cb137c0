"""healthd's connection pool beside its peers, measured one after the other, again and again, on one PostgreSQL over 127.0.0.1.

BENCH_ROUNDS (5) is how often each cell is measured, BENCH_SECONDS (1.0) how long each time. BENCH_POOL_ONLY (all) names who
takes part, for instance fifo,ours; raw always does. BENCH_BEFORE names a poolbench of an older tree, which is then measured beside
this one: in no cell may this one be slower by more than that cell's noise.
"""
import contextlib
import os
import statistics
import typing

from coprocess import Coprocess, NoAnswer
from server_use import ServerUse
from servers import folder, postgres, unused_port

POOL = 10
POOLS = ["fifo", "hikari", "node-pg", "psycopg", "ours"]


class Run(typing.NamedTuple):
    """What one implementation does in a cell."""
    who: str
    mode: str

    def __str__(self):
        return f"{self.who} {self.mode}"


class Cell(typing.NamedTuple):
    """Measurements that are compared with each other, and are therefore taken one right after the other."""
    name: str
    callers: int
    raw: str
    runs: list

    def order(self, number):
        """raw first; then the others, another one first in each round."""
        first = number % len(self.runs) if self.runs else 0
        return [Run("raw", self.raw), *self.runs[first:], *self.runs[:first]]


CELLS = [
    *(Cell(f"query {callers}", callers, "query", [Run(who, "query") for who in POOLS]) for callers in (1, 20, 50, 200)),
    *(Cell(f"bare {callers}", callers, "query", [Run(who, "bare") for who in POOLS]) for callers in (1, 200)),
    *(Cell(f"single {callers}", callers, "query", [Run("fifo", "query"), Run("ours", "single")]) for callers in (20, 50, 200)),
    Cell("batch 20", 20, "pipeline", [Run("ours", "query"), Run("ours", "batch")]),
]

# What `BENCH_BEFORE` does as well: all that ours does.
BEFORE = "before"
if os.environ.get("BENCH_BEFORE"):
    for cell in CELLS:
        cell.runs.extend([Run(BEFORE, run.mode) for run in cell.runs if run.who == "ours"])

# Our pool divided by another, in the same cell: cell, our mode, the other, figure, what the quotient has to be.
QUOTIENTS = [
    ("query 20", "query", "fifo query", "ops_s", ">=", 0.9),
    ("query 50", "query", "fifo query", "ops_s", ">=", 0.9),
    ("query 200", "query", "fifo query", "ops_s", ">=", 1.2),
    *((f"query {callers}", "query", f"{peer} query", "ops_s", ">", 1) for peer in ("hikari", "node-pg") for callers in (20, 50, 200)),
    *((f"single {callers}", "single", "fifo query", "ops_s", ">=", 2) for callers in (20, 50, 200)),
    *((f"query {callers}", "query", "fifo query", "cpu_us_op", "<=", 1.5) for callers in (20, 50, 200)),
    *((f"single {callers}", "single", "fifo query", "cpu_us_op", "<", 1) for callers in (20, 50, 200)),
    ("batch 20", "batch", "ours query", "ops_s", ">=", 4),
]

# Our pool by itself: cell, our mode, figure, what it has to be.
VALUES = [
    ("query 200", "query", "p99_to_p50", "<=", 2),
    ("bare 1", "bare", "cpu_us_op", "<=", 0.3),
    ("bare 200", "bare", "cpu_us_op", "<=", 2.5),
]

FIGURES = {"ops_s": "operations per second", "cpu_us_op": "µs of CPU per operation", "p99_to_p50": "p99 divided by p50"}
FIGURES_SHOWN = ("ops_s", "p50_us", "p99_us", "p99_to_p50", "cpu_us_op", "user_us_op", "server_us_op", "server_switches_op", "cores")
HOLDS = {">=": lambda a, b: a >= b, ">": lambda a, b: a > b, "<=": lambda a, b: a <= b, "<": lambda a, b: a < b}


def command(who, root):
    """How an implementation is started; scripts/peers.sh made what is in .build-bench."""
    built, peers = root / ".build-bench", root / "Benchmarks" / "peers"
    jars = [f"/usr/share/java/{name}.jar" for name in ("HikariCP", "postgresql", "slf4j-api", "slf4j-nop")]
    return {
        "raw": [built / "raw"],
        "fifo": [built / "fifo_pool"],
        # The serial collector: the parallel ones keep threads of their own busy, which on two cores costs more than it brings.
        # No performance data: they are sampled every 50 ms, also while others are measured.
        "hikari": ["java", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-cp", ":".join([str(built / "classes"), *jars]), "HikariPool"],
        "node-pg": ["node", peers / "node_pg_pool.js"],
        "psycopg": [built / "venv" / "bin" / "python", "-B", peers / "psycopg_async_pool.py"],
        "ours": [root / ".build-release" / "release" / "poolbench"],
        BEFORE: [os.environ.get("BENCH_BEFORE", "")],
    }[who]


def those_who_take_part():
    only = os.environ.get("BENCH_POOL_ONLY", "").replace(",", " ").split()
    unknown = [name for name in only if name not in ("raw", *POOLS)]
    if unknown:
        raise ValueError(f"BENCH_POOL_ONLY names {', '.join(unknown)}; there are raw, {', '.join(POOLS)}")
    before = [BEFORE] if os.environ.get("BENCH_BEFORE") else []
    return ["raw", *(who for who in POOLS if not only or who in only), *before]


def start(report, port, log_folder, stack):
    """The implementations that answer a first short question; each of the others is a failed check."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    environment.update(PGHOST="127.0.0.1", PGPORT=str(port), PGUSER="app", PGDATABASE="app",
                       NODE_PATH=str(report.root / ".build-bench" / "nodejs" / "usr" / "share" / "nodejs"))
    running = {}
    for who in those_who_take_part():
        try:
            coprocess = Coprocess(command(who, report.root), environment, f"{log_folder}/{who}.log")
            stack.callback(coprocess.end)
            coprocess.measure("query", POOL, 1, 0.1)
            running[who] = coprocess
        except NoAnswer as error:
            report.check(f"{who} takes part", False, error)
    return running


class Measured:
    """The answers of all rounds, by cell and run; a missing one is None."""

    def __init__(self, server):
        self.server = server
        self.answers = {}
        self.failures = {}

    def ask(self, coprocess, cell, run, seconds):
        try:
            before = self.server.now()
            answer = coprocess.measure(run.mode, POOL, cell.callers, seconds)
            used = self.server.now().since(before)
            # In the first round of a cell a just-in-time compiler's warm-up is in it; the median is of the others.
            operations = answer["ops_s"] * seconds
            answer.update(p99_to_p50=answer["p99_us"] / answer["p50_us"], server_us_op=used.seconds * 1e6 / operations,
                          server_switches_op=used.switches / operations,
                          cores=used.seconds / seconds + answer["cpu_us_op"] * answer["ops_s"] / 1e6)
            answer = {figure: round(value, 4) for figure, value in answer.items()}
        except NoAnswer as error:
            self.failures.setdefault(run.who, []).append(f"{run.mode} with {cell.callers} callers: {error}")
            answer = None
        self.answers.setdefault(cell.name, {}).setdefault(str(run), []).append(answer)

    def median(self, cell, run, figure):
        values = [answer[figure] for answer in self.answers[cell].get(str(run), []) if answer]
        return statistics.median(values) if values else None

    def quotient(self, cell, run, other, figure):
        """The median of the quotients of each round: what disturbed both at that moment is not in it."""
        pairs = zip(self.answers[cell].get(str(run), []), self.answers[cell].get(str(other), []))
        quotients = [ours[figure] / theirs[figure] for ours, theirs in pairs if ours and theirs]
        return statistics.median(quotients) if quotients else None

    def noise(self, cell, run, figure):
        """How far the rounds are apart: half of them are within this of each other, as a share of their median."""
        values = [answer[figure] for answer in self.answers[cell].get(str(run), []) if answer]
        if len(values) < 2:
            return 0
        lower, middle, upper = statistics.quantiles(values, n=4, method="inclusive")
        return (upper - lower) / middle


def measure(report, running, server, rounds, seconds):
    measured = Measured(server)
    for number in range(rounds):
        report.say(f"round {number + 1} of {rounds}")
        for cell in CELLS:
            for run in cell.order(number):
                if run.who in running:
                    measured.ask(running[run.who], cell, run, seconds)
    return measured


def show(report, measured):
    for cell in CELLS:
        raw = Run("raw", cell.raw)
        report.say("")
        report.say(f"{cell.name:15} {'ops/s':>9} {'of raw':>7} {'p50 µs':>9} {'p99 µs':>9} {'p99/p50':>8} {'CPU µs/op':>10} {'user µs/op':>11} {'server µs/op':>13} {'switches/op':>12} {'cores':>6}")
        for run in cell.order(0):
            if measured.median(cell.name, run, "ops_s") is None:
                continue
            row = {figure: measured.median(cell.name, run, figure) for figure in FIGURES_SHOWN}
            row["of_raw"] = measured.quotient(cell.name, run, raw, "ops_s")
            report.figures["medians"].setdefault(cell.name, {})[str(run)] = {key: value and round(value, 3) for key, value in row.items()}
            of_raw = f"{row['of_raw']:.2f}" if row["of_raw"] else ""
            report.say(f"  {run!s:13} {row['ops_s']:9.0f} {of_raw:>7} {row['p50_us']:9.2f} {row['p99_us']:9.2f} "
                       f"{row['p99_to_p50']:8.2f} {row['cpu_us_op']:10.2f} {row['user_us_op']:11.2f} {row['server_us_op']:13.2f} {row['server_switches_op']:12.3f} {row['cores']:6.2f}")
    report.say("")


def judge(report, measured, running):
    for who, coprocess in running.items():
        failures = measured.failures.get(who, [])
        report.check(f"{who} answers with figures", not failures, f"{len(failures)} times not; the first: {failures[0]}" if failures else "")
        report.figures["idle_share"][who] = round(coprocess.idle_share, 4)
    # A JIT compiler may finish what a measurement gave it to do; in a very short run that is some per cent of a core.
    shares = report.figures["idle_share"]
    report.check("nobody works while another is measured", max(shares.values(), default=0) < 0.05,
                 ", ".join(f"{who} {share:.1%}" for who, share in shares.items()))
    for cell, mode, other, figure, relation, bound in QUOTIENTS:
        if {"ours", other.split()[0]} <= running.keys():
            quotient = measured.quotient(cell, Run("ours", mode), other, figure)
            report.check(f"{cell}: ours, {FIGURES[figure]}, {relation} {bound} × {other}",
                         quotient is not None and HOLDS[relation](quotient, bound), "not measured" if quotient is None else f"{quotient:.2f}")
    for cell, mode, figure, relation, bound in VALUES:
        if "ours" in running:
            value = measured.median(cell, Run("ours", mode), figure)
            report.check(f"{cell}: ours, {FIGURES[figure]}, {relation} {bound}",
                         value is not None and HOLDS[relation](value, bound), "not measured" if value is None else f"{value:.2f}")


def judge_against_before(report, measured):
    for cell in CELLS:
        for run in cell.runs:
            if run.who != "ours":
                continue
            before = Run(BEFORE, run.mode)
            for figure, sign in (("ops_s", 1), ("cpu_us_op", -1)):
                quotient = measured.quotient(cell.name, run, before, figure)
                noise = max(measured.noise(cell.name, each, figure) for each in (run, before))
                holds = quotient is not None and (quotient >= 1 - noise if sign > 0 else quotient <= 1 + noise)
                report.check(f"{cell.name}: ours {run.mode}, {FIGURES[figure]}, no worse than before by more than the noise", holds,
                             "not measured" if quotient is None else f"{quotient:.2f} of before, noise {noise:.2f}")


def run(report, _healthd):
    rounds, seconds = int(os.environ.get("BENCH_ROUNDS", "5")), float(os.environ.get("BENCH_SECONDS", "1.0"))
    port = unused_port()
    with postgres(port, connections=300) as server, folder("pool") as logs, contextlib.ExitStack() as stack:
        running = start(report, port, logs, stack)
        measured = measure(report, running, ServerUse(server), rounds, seconds)
        report.figures.update(pool=POOL, rounds=rounds, seconds=seconds, answers=measured.answers, medians={}, idle_share={})
        show(report, measured)
        judge(report, measured, running)
        if BEFORE in running:
            judge_against_before(report, measured)
