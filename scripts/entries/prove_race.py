"""The pool under the thread sanitizer: 100,000 acquires with everything that can go wrong, and the suites of pool and batcher; no report.

PROVE_RACE_ACQUIRES (100000) is how many, PROVE_RACE_SEED (6) in which orders. Built into .build-tsan, apart from other builds.
"""
import os
import re
import subprocess
import time

SUITES = "PoolRaceTests|BatcherTests|BatchPlanTests|PoolTests|PoolStateTests|PoolFaultTests|PoolLifeTests|AdmissionTests|FairnessTests"
REPORT = "WARNING: ThreadSanitizer"


def run(report, _healthd):
    acquires = os.environ.get("PROVE_RACE_ACQUIRES", "100000")
    scratch = ["--scratch-path", str(report.root / ".build-tsan"), "--sanitize=thread"]
    log = report.root / ".results" / "prove-race.log"
    environment = dict(os.environ, PROVE_RACE_ACQUIRES=acquires, TSAN_OPTIONS="halt_on_error=0")

    began = time.monotonic()
    report.say("building with the sanitizer (the first time takes about ten minutes on two cores)")
    with open(log, "w") as out:
        build = subprocess.run(["swift", "build", "--build-tests", *scratch], cwd=report.root, stdout=out, stderr=subprocess.STDOUT, check=False)
    report.figures["build_seconds"] = round(time.monotonic() - began, 1)
    if not report.check("the tests build with the sanitizer", build.returncode == 0, f"see {log.name}" if build.returncode else ""):
        return

    began = time.monotonic()
    with open(log, "w") as out:
        tests = subprocess.run(
            ["swift", "test", "--skip-build", *scratch, "--disable-xctest", "--no-parallel", "--filter", SUITES],
            cwd=report.root, env=environment, stdout=out, stderr=subprocess.STDOUT, timeout=3600, check=False)
    text = log.read_text(errors="replace")
    reports = text.count(REPORT)
    report.figures["test_seconds"] = round(time.monotonic() - began, 1)
    report.figures["reports"] = reports
    raced = re.search(r"P6: (\d+) acquires in .*", text)
    if raced:
        report.say(raced.group(0))
        report.figures["race"] = raced.group(0)
    report.check("the sanitizer has nothing to report", reports == 0, f"{reports} reports, see {log.name}" if reports else "")
    report.check("all acquires were made", raced and raced.group(1) == acquires, raced.group(1) if raced else "none")
    # Times are measured there, too, and the sanitizer multiplies them: what failed is named, and decided upon by a reader.
    failed = sorted(set(re.findall(r"Test (.+?) (?:recorded an issue|failed)", text)))
    report.check("the suites pass", tests.returncode == 0, "; ".join(failed))
