"""The pool under the thread sanitizer: 100,000 acquires with everything that can go wrong, and the suites of pool and batcher; no report.

PROVE_RACE_ACQUIRES (100000) is how many, PROVE_RACE_SEED (6) in which orders. Built into .build-tsan, apart from other builds.
"""
import os
import pathlib
import re
import shutil
import subprocess
import time

SUITES = "PoolRaceTests|BatcherTests|BatchPlanTests|PoolTests|PoolStateTests|PoolFaultTests|PoolLifeTests|AdmissionTests|FairnessTests"
REPORT = "WARNING: ThreadSanitizer"

# Four tasks add to one number: under a lock that they wait for, to one that a continuation hands them, or to one that is anybody's.
COUNT = """
import Dispatch
import Synchronization
final class Cell: @unchecked Sendable { let lock = Mutex(()); var number = 0 }
func handed(by queue: DispatchQueue) async -> Cell {
    await withCheckedContinuation { continuation in
        queue.async {
            let cell = Cell()
            cell.number = 1
            continuation.resume(returning: cell)
        }
    }
}
@main struct Count {
    static func main() async {
        let (cell, how) = (Cell(), CommandLine.arguments[1])
        await withTaskGroup(of: Void.self) { group in
            for caller in 0..<4 {
                group.addTask {
                    let queue = DispatchQueue(label: "\(caller)")
                    for _ in 0..<50_000 {
                        switch how {
                        case "locked": cell.lock.withLock { _ in cell.number += 1 }
                        case "handed": await handed(by: queue).number += 1
                        default: cell.number += 1
                        }
                    }
                }
            }
        }
    }
}
"""


def sees(report, scratch, environment):
    """That the sanitizer, told about Swift's libraries, sees a race where there is one, and none where a lock or a continuation orders it."""
    source, program = scratch / "count.swift", scratch / "count"
    source.write_text(COUNT)
    subprocess.run(["swiftc", "-parse-as-library", "-sanitize=thread", source, "-o", program], check=True)
    bare, locked, handed = (subprocess.run([program, how], env=environment, capture_output=True, text=True, check=False).stderr.count(REPORT)
                            for how in ("bare", "locked", "handed"))
    report.check("the sanitizer sees a race where there is one, none under a lock, and none in what a continuation hands over",
                 bare > 0 and locked == 0 and handed == 0, f"{bare}, {locked} and {handed} reports")


def run(report, _healthd):
    acquires = os.environ.get("PROVE_RACE_ACQUIRES", "100000")
    scratch = ["--scratch-path", str(report.root / ".build-tsan"), "--sanitize=thread"]
    log = report.root / ".results" / "prove-race.log"
    # The sanitizer has to be told what happens inside the libraries of Swift: see there.
    shim = report.root / ".build-tsan" / "tsan_swift.so"
    environment = dict(os.environ, PROVE_RACE_ACQUIRES=acquires, TSAN_OPTIONS="halt_on_error=0", LD_PRELOAD=str(shim))

    began = time.monotonic()
    report.say("building with the sanitizer (the first time takes about ten minutes on two cores)")
    with open(log, "w") as out:
        build = subprocess.run(["swift", "build", "--build-tests", *scratch], cwd=report.root, stdout=out, stderr=subprocess.STDOUT, check=False)
    report.figures["build_seconds"] = round(time.monotonic() - began, 1)
    if not report.check("the tests build with the sanitizer", build.returncode == 0, f"see {log.name}" if build.returncode else ""):
        return
    clang = pathlib.Path(shutil.which("swift")).resolve().parent / "clang"
    source = pathlib.Path(__file__).with_name("tsan_swift.c")
    subprocess.run([clang, "-O1", "-Wall", "-Werror", "-fPIC", "-shared", source, "-o", shim, "-ldl"], check=True)
    sees(report, report.root / ".build-tsan", environment)

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
    failed = sorted(set(re.findall(r"✘ Test (.+?) (?:with \d+ test cases )?failed after", text)))
    ended = re.search(r"Test run with \d+ tests .*", text)
    report.check("the tests ran to their end", ended, ended.group(0) if ended else f"exit {tests.returncode}, see {log.name}")
    report.check("P6 holds", raced and not any('"P6:' in name for name in failed))
    # The others measure times as well, and the sanitizer multiplies them: what missed a bound is named, and the usual tests decide.
    report.figures["missed_a_bound"] = failed
    report.say(f"missed a bound of time or failed: {'; '.join(failed) or 'none'}")
