"""A program that measures when asked: "MODE POOL CALLERS SECONDS" on its standard input, one line of JSON on its standard output."""
import json
import os
import subprocess
import threading
import time

from servers import end

# What opening a pool, warming up and the drain at the end may take beyond the measurement itself.
PATIENCE = 30
TICK = 1 / os.sysconf("SC_CLK_TCK")


class NoAnswer(Exception):
    """The program answered with an error, not at all, or could not be started."""


class Coprocess:
    """Runs from its making until `end`; `idle_share` tells whether it kept quiet while others were measured."""

    def __init__(self, command, environment, log):
        self.log = log
        self.waited = self.waited_cpu = 0.0
        try:
            with open(log, "wb") as errors:
                self.process = subprocess.Popen(command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        except OSError as error:
            raise NoAnswer(f"not started: {error}") from error
        self.quiet_since = None

    def measure(self, mode, pool, callers, seconds):
        self._count_idling()
        before = self._times()
        # Ends a program that hangs; then its output ends, too, and with it the wait for a line.
        watch = threading.Timer(seconds + PATIENCE, self.process.kill)
        watch.start()
        try:
            self.process.stdin.write(f"{mode} {pool} {callers} {seconds}\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            watch.cancel()
        if not line:
            raise NoAnswer(f"ended with {end(self.process)}: {self._last_words()}")
        after = self._times()
        self.quiet_since = (time.monotonic(), sum(after))
        answer = json.loads(line)
        if "error" in answer:
            raise NoAnswer(answer["error"])
        # The kernel counts in hundredths of a second: the share is taken from it, the sum from the program.
        user, system = (later - earlier for later, earlier in zip(after, before))
        answer["user_us_op"] = answer["cpu_us_op"] * user / max(TICK, user + system)
        return answer

    @property
    def idle_share(self):
        """CPU time used between measurements, of the time between them."""
        self._count_idling()
        return self.waited_cpu / self.waited if self.waited else 0.0

    def end(self):
        try:
            self.process.stdin.close()
            self.process.wait(10)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            pass
        self.process.stdout.close()
        return end(self.process)

    def _count_idling(self):
        if self.quiet_since and self.process.poll() is None:
            now = (time.monotonic(), sum(self._times()))
            self.waited += now[0] - self.quiet_since[0]
            self.waited_cpu += now[1] - self.quiet_since[1]
            self.quiet_since = now

    def _times(self):
        """Seconds in its own code and in the kernel."""
        try:
            # After the name, which may contain blanks; proc(5) counts from 1, utime is 14 and stime 15.
            fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        except FileNotFoundError:
            return 0.0, 0.0
        return int(fields[11]) * TICK, int(fields[12]) * TICK

    def _last_words(self):
        lines = [line.strip() for line in open(self.log, errors="replace") if line.strip()]
        # A stack trace puts the reason before its end, or after it.
        return next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "it said nothing")
