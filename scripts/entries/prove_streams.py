"""Twenty task streams at once for a minute: every event arrives, in order, and nothing is dropped.

PROVE_SECONDS (60) is for how long, PROVE_STREAMS (20) how many.
"""
import http.client
import json
import os
import threading
import time

from servers import Daemon, folder, until

TYPES = ["thesis-validation", "earnings-analysis", "risk-assessment"]


def events(port, task, limit):
    """The events of one task's stream, until its last."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=limit)
    try:
        connection.request("GET", f"/api/agents/tasks/{task}/stream", headers={"Accept": "text/event-stream"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise ValueError(f"the stream answers {answer.status}")
        found, event = [], {}
        for raw in answer:
            line = raw.decode().rstrip("\n")
            if line:
                key, _, value = line.partition(":")
                if key:
                    event[key] = value.strip()
                continue
            if event:
                found.append(event)
            if event.get("event") in ("task:completed", "task:failed"):
                return found
            event = {}
        return found
    finally:
        connection.close()


def gaps(found):
    """Where an event's number does not follow the one before it; the opening state stands for all that came before."""
    numbers = [int(event["id"].replace(":", "-").rsplit("-", 1)[1]) for event in found if event.get("event") != "task:state" and "id" in event]
    missing_ids = sum(1 for event in found if event.get("event") not in ("task:state", None) and "id" not in event)
    return missing_ids + sum(1 for one, following in zip(numbers, numbers[1:]) if following != one + 1)


def reader(daemon, workspaces, index, finish, results, problems):
    number = index
    while time.monotonic() < finish:
        number += 1
        try:
            status, text = daemon.request("POST", "/api/agents/tasks", {
                "workspaceId": workspaces[number % len(workspaces)], "type": TYPES[number % len(TYPES)], "params": {}}, timeout=30)
            if status != 201:
                raise ValueError(f"POST answers {status}: {text[:200]}")
            found = events(daemon.port, json.loads(text)["id"], 60)
            results.append((len(found), gaps(found), found[-1].get("event") if found else "nothing"))
        except (OSError, ValueError, http.client.HTTPException, KeyError) as error:
            problems.append(repr(error))
            time.sleep(0.1)


def run(report, healthd):
    seconds, streams = float(os.environ.get("PROVE_SECONDS", "60")), int(os.environ.get("PROVE_STREAMS", "20"))
    with folder("streams") as base:
        daemon = Daemon(healthd, f"{base}/state", arguments=["--embedded", "--demo"], log=f"{base}/log")
        try:
            until("healthd answers", daemon.answers)
            until("all is well", daemon.is_well, limit=60)

            def workspaces():
                answer = daemon.json("/api/workspaces")
                # Until the tables are there the answer is an error.
                return [item["id"] for item in answer.get("workspaces", [])]

            ids = until("there are workspaces", workspaces, limit=60)
            results, problems = [], []
            finish = time.monotonic() + seconds
            threads = [threading.Thread(target=reader, args=(daemon, ids, index, finish, results, problems)) for index in range(streams)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            total = sum(count for count, _, _ in results)
            report.check("every task was taken and streamed", not problems, problems[:3] if problems else f"{len(results)} streams, {total} events")
            report.check("every task was completed", all(last == "task:completed" for _, _, last in results))
            report.check("ids are contiguous in every stream", sum(holes for _, holes, _ in results) == 0)
            report.check("there was something to see", len(results) >= streams)
            report.check("healthd ends with 0", daemon.end() == 0)
            report.figures.update({"streams_at_once": streams, "seconds": seconds, "streams": len(results), "events": total, "problems": len(problems)})
        finally:
            daemon.end()
