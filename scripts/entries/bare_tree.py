"""A Debian 12 in which only the Swift toolchain and its listed packages are: the README's two commands, as a stranger types them.

The tree is made by debootstrap in a temporary folder, and entered in namespaces of its own with `/` a mount of its own. Of this machine it
sees the toolchain, what git and apt are told here, and the network. Everything is built in it, so this takes about half an hour.
"""
import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import time

from servers import folder, get, unused_port, until

# Becomes the first process of the tree: $1 is its root, $2 the folders of this machine that it sees, one a line, then the command.
ENTER = r"""
set -e
root=$1 seen=$2
shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
while read -r folder; do
    [ -n "$folder" ] || continue
    mkdir -p "$root$folder"
    mount --bind "$folder" "$root$folder"
done <<<"$seen"
mkdir -p outside
pivot_root . outside
umount --lazy /outside
cd /source 2>/dev/null || cd /
exec "$@"
"""


class Tree:
    def __init__(self, base):
        self.root = f"{base}/root"
        self.log = f"{base}/log"
        toolchain = pathlib.Path(os.path.realpath(shutil.which("swift"))).parents[2]
        # Where git is told to look for packages, when that is a folder.
        told = subprocess.run(["git", "config", "--list"], capture_output=True, text=True, check=False).stdout
        packages = {folder for folder in re.findall(r"^url\.(/.*)\.insteadof=", told, re.MULTILINE) if os.path.isdir(folder)}
        self.seen = [str(toolchain), *sorted(packages)]

    def make(self):
        mirror = next(iter(re.findall(r"^(?:URIs:|deb(?: \[[^]]*\])?) *(\S+)", sources(), re.MULTILINE)))
        self.outside("debootstrap", "--variant=minbase", "bookworm", self.root, mirror)
        for place in ["etc/apt/sources.list", "etc/apt/sources.list.d", "etc/apt/apt.conf.d", "etc/apt/keyrings", "etc/apt/trusted.gpg.d",
                      "usr/share/keyrings", "etc/gitconfig", "etc/gitignore", "etc/resolv.conf", "etc/hosts"]:
            with contextlib.suppress(FileNotFoundError):
                if os.path.isdir(f"/{place}"):
                    shutil.copytree(f"/{place}", f"{self.root}/{place}", dirs_exist_ok=True)
                else:
                    shutil.copy(f"/{place}", f"{self.root}/{place}")
        return self

    def outside(self, *words):
        with open(self.log, "ab") as log:
            subprocess.run(words, stdout=log, stderr=log, check=True)

    def start(self, *words, environment=()):
        """A command inside, with nothing of this machine's environment but the way to the network."""
        kept = {key: value for key, value in os.environ.items() if key.lower().endswith("_proxy")}
        kept.update(PATH=f"{self.seen[0]}/usr/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", HOME="/root", LANG="C.UTF-8", **dict(environment))
        return subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", ENTER, "enter", self.root, "\n".join(self.seen), *words],
            env=kept, stdin=subprocess.DEVNULL, stdout=open(self.log, "ab"), stderr=subprocess.STDOUT)

    def status(self, *words, limit=600, **more):
        process = self.start(*words, **more)
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            process.kill()
            return f"not within {limit} s"

    def tail(self, lines=15):
        return "\n".join(pathlib.Path(self.log).read_text(errors="replace").splitlines()[-lines:])


def sources():
    files = [pathlib.Path("/etc/apt/sources.list"), *sorted(pathlib.Path("/etc/apt/sources.list.d").glob("*"))]
    return "\n".join(file.read_text() for file in files if file.exists())


def listed_packages(root):
    """What the README tells a stranger to install before the toolchain starts."""
    words = subprocess.run(["bash", "-c", '. "$1"/scripts/lib.sh; echo "${toolchain_packages[@]}"', "bash", str(root)],
                           capture_output=True, text=True, check=True).stdout
    return words.split()


def answers(port, path):
    status, text = get(port, path)
    return status == 200 and text


def run(report):
    with folder("bare") as base:
        tree = Tree(base).make()
        tree.outside("git", "clone", "-q", str(report.root), f"{tree.root}/source")
        install = "export DEBIAN_FRONTEND=noninteractive; apt-get -q update && apt-get -q -y install --no-install-recommends " + " ".join(listed_packages(report.root))
        status = tree.status("bash", "-c", install)
        if not report.check("a bare tree: the toolchain's listed packages install", status == 0, status or ""):
            return report.say(tree.tail())
        status = tree.status("swift", "--version")
        report.check("a bare tree: the toolchain starts with no other package", status == 0, status or "")

        port = unused_port()
        began = time.monotonic()
        door = tree.start("scripts/run", environment={"HEALTHD_LISTEN": f"127.0.0.1:{port}"})
        try:
            def serving():
                if door.poll() is not None:
                    raise RuntimeError(f"scripts/run ended with {door.returncode}:\n{tree.tail()}")
                return answers(port, "/metrics")
            until("scripts/run answers", serving, limit=3000, pause=1)
            report.figures["bare tree, minutes until scripts/run answers"] = round((time.monotonic() - began) / 60, 1)
            for path in ("/metrics", "/", "/api/workspaces/1"):
                found = until(f"{path} answers", lambda: answers(port, path), limit=60)
                report.check(f"a bare tree: scripts/run serves {path}", found)
        finally:
            # `unshare` heeds no polite signal; with it goes the first process of the tree, and with that all others.
            door.kill()
            door.wait(60)

        began = time.monotonic()
        status = tree.status("scripts/test", limit=5400)
        minutes = (time.monotonic() - began) / 60
        report.figures["bare tree, minutes of scripts/test"] = round(minutes, 1)
        if not report.check("a bare tree: scripts/test passes", status == 0, f"{minutes:.0f} minutes, exit {status}"):
            report.say(tree.tail(60))
