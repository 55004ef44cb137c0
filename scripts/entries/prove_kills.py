"""kill -9 at random moments of a saturation alert, with a receiver that answers 200, 500 or not at all: no notice is lost.

PROVE_KILLS (50) is how often. What counts as a notice is what healthd had written to its outbox when it was killed.
"""
import contextlib
import os
import pathlib
import random
import signal
import sqlite3
import subprocess
import threading
import time

from servers import Daemon, Receiver, folder, postgres, until

SEED = 20_261_124


def read(state, statement):
    """What the outbox answers; healthd may be writing to it. Not read only: what a kill left half done is undone first."""
    with contextlib.closing(sqlite3.connect(f"file:{state}/healthd.sqlite?mode=rw", uri=True, timeout=5)) as connection:
        return connection.execute(statement).fetchall()


def notices(state):
    """Id, alert and status of the notices in the outbox, in their order."""
    return read(state, "SELECT id, fingerprint, status FROM alert_notices ORDER BY sequence")


def deliveries(state):
    """How many there are in each state."""
    return dict(read(state, "SELECT state, count(*) FROM alert_deliveries GROUP BY state"))


def ends(state):
    """How the delivery of each notice ended, and why."""
    return {id: (end, answer) for id, end, answer in read(
        state, "SELECT n.id, d.state, d.answer FROM alert_deliveries d JOIN alert_notices n ON n.sequence = d.notice")}


def episodes(written):
    """The notices from each firing to its all-clear, the last of an alert perhaps without one: lists of ids, and whether it is over."""
    open_ones, whole = {}, []
    for id, fingerprint, status in written:
        open_ones.setdefault(fingerprint, []).append(id)
        if status == "resolved":
            whole.append((open_ones.pop(fingerprint), True))
    return whole + [(ids, False) for ids in open_ones.values()]


def torn(written, dropped):
    """The episodes of which a part was dropped, or all although they are not over."""
    return [ids for ids, is_over in episodes(written) if set(ids) & dropped and not (is_over and set(ids) <= dropped)]


def hold(daemon):
    """Three callers on two connections, in the background; that healthd dies under it is the point."""
    def ask():
        try:
            daemon.request("POST", "/api/demo/hold", {"callers": 3, "seconds": 1}, timeout=30)
        except OSError:
            pass
        except Exception:  # http.client's own errors for an answer that broke off
            pass
    threading.Thread(target=ask, daemon=True).start()


def run(report, healthd):
    kills = int(os.environ.get("PROVE_KILLS", "50"))
    chance = random.Random(SEED)
    with postgres() as url, folder("kills") as base, Receiver() as receiver:
        state, configuration = f"{base}/state", f"{base}/healthd.yaml"
        os.mkdir(state)
        secret = pathlib.Path(f"{base}/secret")
        secret.write_text("whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=")
        pathlib.Path(configuration).write_text(f"""
database: {{ url: "{url}", pool: {{ max: 2, min: 1 }} }}
rules:
  pool-saturation: {{ degraded: 0.80, critical: 0.95, leave: 0.70, enter-after: 0s, leave-after: 500ms }}
receivers:
  - {{ name: oncall, webhook: "http://127.0.0.1:{receiver.port}/hook", secret-file: {secret} }}
""")
        subprocess.run([healthd, "migrate", "up", "--config", configuration], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        seen = {}
        slowest = 0.0
        for number in range(1, kills + 1):
            receiver.behaviour = chance.choice(["200", "500", "hang"])
            began = time.monotonic()
            daemon = Daemon(healthd, state, configuration=configuration, arguments=["--demo"], log=f"{base}/log")
            until("healthd answers", daemon.answers)
            slowest = max(slowest, time.monotonic() - began)
            hold(daemon)
            # The alert opens within the first moments and closes about two seconds later: kills land on every side of both.
            time.sleep(chance.uniform(0.0, 3.5))
            daemon.end(signal.SIGKILL)
            for row in notices(state):
                seen[row[0]] = row
            if number % 10 == 0:
                report.say(f"{number} of {kills} kills, {len(seen)} notices written, {len(receiver.deliveries)} deliveries tried")

        report.check("alerts were raised at all", len(seen) >= kills / 5, f"{len(seen)} notices over {kills} kills")
        receiver.behaviour = "200"
        daemon = Daemon(healthd, state, configuration=configuration, arguments=["--demo"], log=f"{base}/log")
        until("healthd answers", daemon.answers)
        try:
            until("the outbox is empty", lambda: deliveries(state).get("queued", 0) == 0 and time.monotonic() - began > 5, limit=400, pause=0.5)
        except TimeoutError as error:
            report.check("the outbox empties", False, error)
        until("the last alert closes", lambda: "resolved" == notices(state)[-1][2], limit=60, pause=0.2)
        until("the outbox is empty", lambda: deliveries(state).get("queued", 0) == 0, limit=400, pause=0.5)
        written = notices(state)
        ended = daemon.end()

        accepted = receiver.accepted()
        accepted_ids = [delivery["id"] for delivery in accepted]
        states, how = deliveries(state), ends(state)
        lost = [row for row in written if row[0] not in accepted_ids]
        report.check("a notice once written is never forgotten", set(seen) <= {row[0] for row in written}, f"{len(seen)} seen")
        # A receiver that is away for long gets the first and the newest of each alert: episodes in between are dropped whole, and say so.
        dropped = {id for id, (end, answer) in how.items() if end == "superseded" and "undelivered notices" in (answer or "")}
        report.check("every notice was accepted, or dropped by the bound on what may be undelivered",
                     {row[0] for row in lost} <= dropped, f"{len(written)} written, {len(lost)} not accepted, {len(dropped)} dropped, deliveries {states}")
        report.check("what was dropped are whole episodes, from a firing to its all-clear", not torn(written, dropped), torn(written, dropped))
        by_id = {}
        for delivery in receiver.deliveries:
            by_id.setdefault(delivery["id"], set()).add(delivery["body"]["status"])
        report.check("a notice has one id however often it is sent", all(len(statuses) == 1 for statuses in by_id.values())
                     and len({delivery["id"] for delivery in receiver.deliveries}) <= len(written))
        order, first = {}, {}
        for position, delivery in enumerate(accepted):
            first.setdefault(delivery["id"], position)
        for id, fingerprint, status in written:
            order.setdefault(fingerprint, []).append((first.get(id, -1), status))
        # What never arrived is judged above.
        arrived = {fingerprint: [position for position, _ in rows if position >= 0] for fingerprint, rows in order.items()}
        report.check("each alert's notices arrive in their order", all(positions == sorted(positions) for positions in arrived.values()))
        # Two firings in a row are an escalation; two all-clears in a row would be one too many.
        repeated = {fingerprint: [status for _, status in rows] for fingerprint, rows in order.items()
                    if any(one[1] == next[1] == "resolved" for one, next in zip(rows, rows[1:])) or rows[0][1] != "firing"}
        report.check("firing and resolved take turns, but for escalations", not repeated, repeated)
        report.check("the last word is the all-clear", all(rows[-1][1] == "resolved" for rows in order.values()))
        report.check("healthd ends with 0", ended == 0)
        report.figures.update({
            "kills": kills, "seed": SEED, "notices": len(written), "deliveries_tried": len(receiver.deliveries),
            "deliveries_accepted": len(accepted), "sent_more_than_once": len(accepted_ids) - len(set(accepted_ids)),
            "slowest_start_s": round(slowest, 2)})
