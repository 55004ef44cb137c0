"""Small mistakes are put into the sources one by one, of the kind that a tired colleague makes; the tests notice each of them.

A mistake is a patch of Tests/Mutants. Its head says what it is, what a user gets of it, and which files of tests are to notice it.
PROVE_MUTANTS=WORD takes only those that have the word in their name. Built into .build-mutants, apart from other builds.
"""
import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import time
from dataclasses import dataclass

# Seconds. Most files of tests take less than ten; all of them together, without a mistake, take minutes. A mistake that makes one wait for
# ever is noticed, too.
PATIENCE = 180
PATIENCE_WITH_ALL = 1800
FAILED = re.compile(r"✘ Test (?!run with )(.+?) (?:with \d+ test cases )?failed after")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
RAN = re.compile(r"Test run with (\d+) tests?")


@dataclass
class Mutant:
    """One mistake, as its file says it."""
    name: str
    mistake: str
    effect: str
    tests: list
    files: list
    patch: pathlib.Path

    @classmethod
    def read(cls, path):
        text = path.read_text()
        head = dict(re.findall(r"^(Mistake|Effect|Tests): *(.+)$", text.split("\n--- ", 1)[0], re.MULTILINE))
        missing = {"Mistake", "Effect", "Tests"} - head.keys()
        if missing:
            raise ValueError(f"{path.name} does not say: {', '.join(sorted(missing))}")
        return cls(path.stem, head["Mistake"], head["Effect"], head["Tests"].split(), re.findall(r"^\+\+\+ b/(.+)$", text, re.MULTILINE), path)


class Copy:
    """A copy of the tree, in which mistakes are made."""

    def __init__(self, root, folder):
        self.tree = folder / "tree"
        self.build_log = folder / "build.log"
        self.test_log = folder / "test.log"
        self.flags = ["--scratch-path", str(folder / "build")]
        self.bundle = folder / "build" / "debug" / "healthdPackageTests.xctest"
        self.refresh(root)

    def refresh(self, root):
        """Only what has changed is written, so that only that is built again."""
        listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=root, capture_output=True, text=True, check=True)
        names = {name for name in listed.stdout.split("\0") if name and (root / name).is_file()}
        for name in names:
            source, copy = root / name, self.tree / name
            if not copy.is_file() or copy.read_bytes() != source.read_bytes():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, copy)
                copy.touch()
        for copy in [path for path in self.tree.rglob("*") if path.is_file()]:
            if str(copy.relative_to(self.tree)) not in names and copy.name != "Package.resolved":
                copy.unlink()
        # The same versions of what others wrote, so that nothing is fetched that is here already.
        if (root / "Package.resolved").is_file():
            shutil.copy2(root / "Package.resolved", self.tree / "Package.resolved")

    @contextlib.contextmanager
    def holding(self, mutant):
        """With the mistake in it; afterwards without. Says why when the patch does not fit, else nothing."""
        before = {self.tree / name: (self.tree / name).read_bytes() for name in mutant.files if (self.tree / name).is_file()}
        done = subprocess.run(["patch", "--strip=1", "--fuzz=0", "--no-backup-if-mismatch", "--reject-file=-", "--input", mutant.patch],
                              cwd=self.tree, capture_output=True, text=True, check=False)
        try:
            yield None if done.returncode == 0 else (done.stdout + done.stderr).strip().splitlines()[-1]
        finally:
            # Written again, so that the build sees from the time that it has changed.
            for path, content in before.items():
                path.write_bytes(content)

    def build(self):
        with open(self.build_log, "w") as out:
            return subprocess.run(["swift", "build", "--build-tests", *self.flags], cwd=self.tree, stdout=out, stderr=subprocess.STDOUT, check=False).returncode == 0

    def compile_error(self):
        errors = re.findall(r"error: (?!emit-module|fatalError)(.+)", self.build_log.read_text(errors="replace"))
        return errors[0] if errors else f"see {self.build_log.name}"

    def test(self, files, patience=PATIENCE):
        """Runs the tests of these files. Answers how many ran, and the names of those that failed; a crash and a silence have a name, too."""
        only = rf"/({'|'.join(files)})\.swift:"
        with open(self.test_log, "w") as out:
            tests = subprocess.Popen([self.bundle, "--testing-library", "swift-testing", "--no-parallel", "--filter", only],
                                     cwd=self.tree, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
            try:
                status = tests.wait(patience)
            except subprocess.TimeoutExpired:
                os.killpg(tests.pid, 9)
                tests.wait()
                return 0, {f"no end within {patience} s"}
        text = COLOUR.sub("", self.test_log.read_text(errors="replace"))
        ran = RAN.search(text)
        failed = {name.strip('"') for name in FAILED.findall(text)}
        if not failed and status != 0:
            failed = {f"ended with status {status}"}
        return int(ran.group(1)) if ran else 0, failed


def run(report, _healthd):
    word = os.environ.get("PROVE_MUTANTS", "")
    mutants = [Mutant.read(path) for path in sorted((report.root / "Tests" / "Mutants").glob("*.patch")) if word in path.stem]
    folder = report.root / ".build-mutants"
    folder.mkdir(exist_ok=True)
    copy = Copy(report.root, folder)

    report.say("building the copy without a mistake (the first time takes about ten minutes on two cores)")
    built = copy.build()
    if not report.check("the copy builds", built, "" if built else copy.compile_error()):
        return
    files = sorted({file for mutant in mutants for file in mutant.tests})
    ran, red = copy.test(files, PATIENCE_WITH_ALL)
    report.check(f"there are tests in these {len(files)} files", ran > 0, f"{ran} tests")
    # On a busy machine a debug build misses a bound of time; the usual tests decide about that.
    report.say(f"red without a mistake, and so no witness: {'; '.join(sorted(red)) or 'none'}")

    took = []
    for mutant in mutants:
        began = time.monotonic()
        holds, how = judged(copy, mutant, red)
        took.append(time.monotonic() - began)
        report.check(f"{mutant.name}: {mutant.mistake}", holds, how)
    report.figures["mutants"] = len(mutants)
    report.figures["seconds_each"] = round(sum(took) / max(1, len(took)), 1)
    report.say(f"{len(mutants)} mistakes, {report.figures['seconds_each']} s each")


def judged(copy, mutant, red):
    """Whether the mistake is noticed, and by what. One that cannot be made is not noticed: its patch is out of date, or the compiler sees it."""
    with copy.holding(mutant) as complaint:
        if complaint:
            return False, f"the patch does not fit any more: {complaint}"
        if not copy.build():
            return False, f"does not compile: {copy.compile_error()}"
        ran, failed = copy.test(mutant.tests)
        witnesses = failed - red
        # What is red by chance is not red twice.
        if witnesses:
            witnesses &= copy.test(mutant.tests)[1]
    if witnesses:
        return True, f"noticed by: {sorted(witnesses)[0]}"
    if ran == 0:
        return False, f"there are no tests in {', '.join(mutant.tests)}"
    return False, f"SURVIVES {ran} tests: {mutant.effect}"
