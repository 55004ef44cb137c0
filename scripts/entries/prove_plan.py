"""The plan's load test against scripts/run: 50 tasks at once, 100 overviews at once, 20 task streams that stay open.

PROVE_PLAN_SECONDS (60) is how long the streams stay open; the plan says 300. The tasks of the streams run for that long.
"""
import http.client
import json
import os
import re
import subprocess
import threading
import time

from prove_doors import Door, get
from prove_streams import events, gaps
from servers import folder, memory, unused_port, until

TASKS, OVERVIEWS, STREAMS = 50, 100, 20
# Milliseconds, for 95 of 100 requests; and seconds for all the tasks.
TASK_P95, OVERVIEW_P95, TASKS_TOTAL = 500, 800, 25
# What the streams may cost when they are over, in kB: caches fill, and the allocator keeps what it had; a leak grows with each event.
MEMORY_KEPT = 16_384


def percentile(values, share):
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)]


def at_once(count, call):
    """Runs `call(index)` in `count` threads that begin together; answers their results and how long all of it took."""
    gate, results = threading.Barrier(count + 1), [None] * count

    def one(index):
        gate.wait()
        results[index] = call(index)
    threads = [threading.Thread(target=one, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    gate.wait()
    began = time.monotonic()
    for thread in threads:
        thread.join()
    return results, time.monotonic() - began


class Answer:
    """What came back, and after how long; a request that failed on the way has status 0."""

    def __init__(self, port, method, path, body=None):
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request(method, path, body=body and json.dumps(body), headers={"Content-Type": "application/json"} if body else {})
            answer = connection.getresponse()
            self.status, self.headers, self.text = answer.status, answer.headers, answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            self.status, self.headers, self.text = 0, {}, repr(error)
        finally:
            self.milliseconds = (time.monotonic() - began) * 1000
            connection.close()


def numbers(port):
    """The sum of each metric's series."""
    sums = {}
    for line in get(port, "/metrics")[1].splitlines():
        found = re.match(r"([a-z_]+)(?:\{[^}]*\})? ([-+0-9.eE]+)", line)
        if found:
            sums[found.group(1)] = sums.get(found.group(1), 0) + float(found.group(2))
    return sums


def new_task(port, workspace, params):
    return Answer(port, "POST", "/api/agents/tasks", {"workspaceId": workspace, "type": "thesis-validation", "params": params})


def wrong(answers, status):
    return [f"{answer.status} {answer.text[:200]}" for answer in answers if answer.status != status]


def note(report, what, answers, took):
    milliseconds = [answer.milliseconds for answer in answers]
    figures = {f"p{share}": round(percentile(milliseconds, share), 1) for share in (50, 95, 99)}
    report.figures[what] = {"count": len(answers), "milliseconds": {**figures, "max": round(max(milliseconds), 1)}, "seconds": round(took, 2)}
    report.say(f"{len(answers)} {what} at once: p50 {figures['p50']} ms, p95 {figures['p95']} ms, p99 {figures['p99']} ms, all in {took:.2f} s")
    return figures["p95"]


def tasks(report, port):
    answers, took = at_once(TASKS, lambda _: new_task(port, 1, {}))
    p95 = note(report, "tasks", answers, took)
    report.check(f"{TASKS} tasks at once for workspace 1: each is taken, with 201", not wrong(answers, 201), wrong(answers, 201)[:3] or "")
    report.check(f"95 of 100 are taken within {TASK_P95} ms", p95 < TASK_P95, f"{p95} ms")
    report.check(f"all are taken within {TASKS_TOTAL} s", took < TASKS_TOTAL, f"{took:.2f} s")
    ids = [json.loads(answer.text)["id"] for answer in answers if answer.status == 201]
    states = {}

    def done():
        for task in ids:
            if states.get(task) not in ("completed", "failed", "cancelled"):
                states[task] = json.loads(get(port, f"/api/agents/tasks/{task}")[1])["state"]
        return all(state in ("completed", "failed", "cancelled") for state in states.values())
    began = time.monotonic()
    try:
        until("all tasks are done", done, limit=120, pause=0.1)
    except TimeoutError as error:
        report.say(error)
    report.figures["tasks"]["seconds_until_all_done"] = round(took + time.monotonic() - began, 2)
    completed = sum(state == "completed" for state in states.values())
    report.check("all tasks are completed", completed == TASKS, f"{completed} of {TASKS}")


def overviews(report, port):
    before = numbers(port)
    answers, took = at_once(OVERVIEWS, lambda _: Answer(port, "GET", "/api/workspaces/1/overview"))
    after = numbers(port)
    p95 = note(report, "overviews", answers, took)
    report.check(f"{OVERVIEWS} overviews of workspace 1 at once: each answers 200", not wrong(answers, 200), wrong(answers, 200)[:3] or "")
    report.check(f"95 of 100 answer within {OVERVIEW_P95} ms", p95 < OVERVIEW_P95, f"{p95} ms")
    # An answer with an age is an old one: the database had no room for the request.
    old = sum("Age" in answer.headers for answer in answers)
    refused = {name: after.get(name, 0) - before.get(name, 0) for name in ("healthd_pool_shed_total", "healthd_pool_acquire_timeouts_total")}
    report.check("the pool had room for each of them", not old and not any(refused.values()), f"{old} stale, {refused}" if old or any(refused.values()) else "")


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def streams(report, port, pid, seconds):
    before, before_fds, before_memory = numbers(port), descriptors(pid), memory(pid)["RssAnon"]
    workspaces = [item["id"] for item in json.loads(get(port, f"/api/workspaces?limit={STREAMS}")[1])["workspaces"]]

    def follow(index):
        began = time.monotonic()
        try:
            # One round a second, each of a few steps, in a workspace of its own: of one workspace only a few tasks run at once.
            made = new_task(port, workspaces[index % len(workspaces)], {"rounds": max(2, round(seconds)), "interval": "1s"})
            if made.status != 201:
                raise ValueError(f"POST answers {made.status}: {made.text[:200]}")
            return events(port, json.loads(made.text)["id"], 60), time.monotonic() - began
        except (OSError, ValueError, http.client.HTTPException) as error:
            report.say(f"a stream failed: {error!r}")
            return [], time.monotonic() - began

    most = 0
    ended = threading.Event()

    def look():
        nonlocal most
        while not ended.wait(1):
            most = max(most, numbers(port).get("healthd_sse_clients", 0))
    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        results, took = at_once(STREAMS, follow)
    finally:
        ended.set()
        watcher.join()
    total = sum(len(found) for found, _ in results)
    report.check(f"{STREAMS} streams were open at once", most >= STREAMS, int(most))
    lasts = [found[-1].get("event") if found else "nothing" for found, _ in results]
    report.check("none was dropped: each ran to its task's end", all(last == "task:completed" for last in lasts), sorted(set(lasts)))
    shortest = min(lasted for _, lasted in results)
    report.check(f"each was open for {seconds:g} s", shortest >= seconds - 1, f"{shortest:.1f} s or more, {total} events")
    holes = sum(gaps(found) for found, _ in results)
    report.check("ids are contiguous in every stream", holes == 0 and total > STREAMS * seconds, f"{holes} holes")
    dropped = numbers(port).get("healthd_sse_events_dropped_total", 0) - before.get("healthd_sse_events_dropped_total", 0)
    report.check("no event was dropped", dropped == 0, int(dropped))

    def back():
        return numbers(port).get("healthd_sse_clients") == 0 and descriptors(pid) <= before_fds
    try:
        until("streams and descriptors are back where they were", back, limit=60, pause=0.2)
        report.check("streams and descriptors are back where they were", True, f"{descriptors(pid)} descriptors, {before_fds} before")
    except TimeoutError:
        clients = numbers(port).get("healthd_sse_clients")
        report.check("streams and descriptors are back where they were", False, f"{clients} streams; {descriptors(pid)} descriptors, {before_fds} before")
    kept = memory(pid)["RssAnon"] - before_memory
    report.check(f"they leave less than {MEMORY_KEPT >> 10} MiB behind in memory", kept < MEMORY_KEPT, f"{kept} kB")
    report.figures["streams"] = {
        "count": STREAMS, "seconds": round(took, 1), "events": total, "memory_before_kB": before_memory, "memory_kept_kB": kept,
        "descriptors_before": before_fds, "descriptors_after": descriptors(pid)}


def run(report, healthd):
    seconds = float(os.environ.get("PROVE_PLAN_SECONDS", "60"))
    report.figures["binary"] = subprocess.run(["sha256sum", healthd], capture_output=True, text=True, check=True).stdout.split()[0]
    with folder("plan") as base:
        # A checkout of its own, so that it is not the demo somebody looks at.
        subprocess.run(["git", "clone", "-q", str(report.root), f"{base}/clone"], check=True)
        port = unused_port()
        door = Door(f"{base}/clone", port, f"{base}/log", {"HEALTHD_BINARY": os.path.abspath(healthd)})
        try:
            door.until_serving(limit=60)
            until("it is ready", lambda: get(port, "/readyz")[0] == 200, limit=60)
            until("all is well", lambda: json.loads(get(port, "/api/health")[1])["status"] == "pass", limit=60)
            before = numbers(port)
            tasks(report, port)
            overviews(report, port)
            streams(report, port, door.healthd(), seconds)
            after = numbers(port)
            deadlocks = after.get("healthd_postgres_deadlocks_total")
            report.check("PostgreSQL counted no deadlock", deadlocks == 0, "" if deadlocks == 0 else deadlocks)
            report.figures["demo_tasks_and_ours"] = int(after.get("healthd_task_duration_seconds_count", 0) - before.get("healthd_task_duration_seconds_count", 0))
            status = door.interrupt()
            report.check("Ctrl-C ends it with 0", status == 0, status)
        finally:
            if door.process.poll() is None:
                door.interrupt()
