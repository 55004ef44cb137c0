"""What PostgreSQL's processes that serve clients have used: their CPU time, and how often the kernel switched to one of them."""
import os
import subprocess
import typing

TICK = 1 / os.sysconf("SC_CLK_TCK")


class Use(typing.NamedTuple):
    seconds: float
    switches: int

    def since(self, earlier):
        """A process that ended in between takes its share with it."""
        return Use(max(0.0, self.seconds - earlier.seconds), max(0, self.switches - earlier.switches))


class ServerUse:
    def __init__(self, connection_string):
        self.command = ["psql", "-XAtc", "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
                        connection_string]

    def now(self):
        pids = subprocess.run(self.command, check=True, capture_output=True, text=True, cwd="/").stdout.split()
        uses = [self._of(pid) for pid in pids]
        return Use(sum(use.seconds for use in uses), sum(use.switches for use in uses))

    @staticmethod
    def _of(pid):
        """Source: proc(5). The name in parentheses may contain blanks; user and system time are the 14th and 15th field."""
        try:
            with open(f"/proc/{pid}/stat") as stat, open(f"/proc/{pid}/status") as status:
                fields = stat.read().rpartition(")")[2].split()
                switches = [int(line.split(":")[1]) for line in status if "ctxt_switches" in line]
        except (FileNotFoundError, ProcessLookupError):
            return Use(0.0, 0)
        return Use((int(fields[11]) + int(fields[12])) * TICK, sum(switches))
