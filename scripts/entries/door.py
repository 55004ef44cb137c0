"""door.py KIND HEALTHD ROOT [NAME...]: runs entries of one kind (bench or prove), sums up, and keeps their figures.

An entry is a module KIND_NAME.py beside this file. Its docstring's first line says what it shows; its function
`run(report, healthd)` does the work: `report.check(...)` for what must hold, `report.figures[...]` for what was measured.
"""
import importlib
import json
import os
import pathlib
import platform
import sys
import time
import traceback


class Report:
    """What one entry found: checks that hold or do not, and figures."""

    def __init__(self, name, root):
        self.name = name
        self.root = root
        self.checks = []
        self.figures = {}

    def say(self, text):
        print(f"{self.name}: {text}", flush=True)

    def check(self, what, holds, detail=""):
        self.checks.append({"what": what, "holds": bool(holds), "detail": str(detail)})
        self.say(f"{'ok    ' if holds else 'FAILED'} {what}{': ' + str(detail) if detail != '' else ''}")
        return holds

    @property
    def failed(self):
        return sum(not check["holds"] for check in self.checks)

    @property
    def passed(self):
        return len(self.checks) - self.failed


def machine():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    return {"cores": os.cpu_count(), "processor": model, "kernel": platform.release(), "load": os.getloadavg()[0]}


def main():
    kind, healthd, root, *names = sys.argv[1:]
    here = pathlib.Path(__file__).parent
    known = sorted(path.stem.split("_", 1)[1] for path in here.glob(f"{kind}_*.py"))
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"{kind}: no entry named {', '.join(unknown)}; there are: {', '.join(known)}")
    results = pathlib.Path(root) / ".results"
    results.mkdir(exist_ok=True)
    passed = failed = 0
    for name in names or known:
        module = importlib.import_module(f"{kind}_{name}")
        report = Report(name, pathlib.Path(root))
        report.say(module.__doc__.splitlines()[0])
        began, environment = time.time(), machine()
        try:
            module.run(report, healthd)
        except KeyboardInterrupt:
            raise
        except Exception as error:
            traceback.print_exc()
            report.check("runs to its end", False, error)
        report.check("has checked something", report.checks)
        passed, failed = passed + report.passed, failed + report.failed
        (results / f"{kind}-{name}.json").write_text(json.dumps({
            "name": name, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)), "seconds": round(time.time() - began, 1),
            "machine": environment, "figures": report.figures, "checks": report.checks}, indent=2) + "\n")
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
