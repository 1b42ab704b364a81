"""Ways to shut a process of generated code away, and which of them works on this machine.

Inside there is no network, no process of the host, and of its files `/usr` and Python alone, read-only; one temporary
folder of a limited size can be written. There is no `/proc`. Who is root is nobody inside: root is above limits.
"""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from srd.config import Code

NOBODY = "65534"
FOLDER = "/tmp"
"""The temporary folder, as the code sees it."""
DEVICES = ("null", "zero", "urandom")
PYTHON_FLAGS = ("-s", "-S", "-P", "-B", "-X", "utf8")
"""The interpreter without the packages of its environment, and nothing of its folder on the path."""
SCRIPT = """
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
disk=$1 prefix=$2; shift 2
cd /sys
mount -t tmpfs -o size=1m,mode=755,nosuid,nodev sandbox .
cd /sys
share() { mkdir -p ".$1"; mount --bind -o ro,nosuid,nodev "$1" ".$1"; }
share /usr
case $prefix in /usr | /usr/*) ;; *) share "$prefix" ;; esac
for name in bin sbin lib lib64; do
  if test -L "/$name"; then ln -s "$(readlink "/$name")" "$name"; elif test -d "/$name"; then share "/$name"; fi
done
mkdir dev tmp
for name in null zero urandom; do : > "dev/$name"; mount --bind "/dev/$name" "dev/$name"; done
mount -t tmpfs -o "size=$disk,nr_inodes=1k,mode=1777,nosuid,nodev" temporary tmp
mount -o remount,bind,ro,nosuid,nodev .
chroot . "$@"
exit $?
"""
"""The first process of the namespaces: it makes the root that is left and waits, so that the code is not the first.
Without capabilities and a descriptor of what lies outside there is no way out of a changed root."""


def python() -> str:
    """The interpreter that the environment was made of."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def as_nobody() -> list[str]:
    """What gives the rights of root up, where there are any."""
    if os.geteuid() != 0:
        return []
    drop = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]
    return ["setpriv", *drop, "--no-new-privs", "--"]


def _bwrap(code: Code) -> list[str]:
    """bubblewrap, which needs no root."""
    spaces = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    spaces += [] if os.geteuid() == 0 else ["--unshare-user"]
    words = ["bwrap", *spaces, "--die-with-parent"]
    for parent in ("/dev", *map(str, reversed(Path(prefix()).parents[:-1]))):
        words += ["--dir", parent]  # what it makes without being told, nobody else can enter
    for folder in dict.fromkeys(["/usr", *_system_folders(), prefix()]):
        link = os.path.islink(folder)
        words += ["--symlink", os.readlink(folder), folder] if link else ["--ro-bind", folder, folder]
    for name in DEVICES:
        words += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    words += ["--size", str(code.disk_mb << 20), "--perms", "1777", "--tmpfs", FOLDER, "--remount-ro", "/"]
    return [*words, "--", *as_nobody()]


def _system_folders() -> list[str]:
    return [folder for folder in ("/bin", "/sbin", "/lib", "/lib64") if os.path.isdir(folder)]


def prefix() -> str:
    """Where Python and its library lie."""
    return os.path.realpath(sys.base_prefix)


def _unshare(code: Code) -> list[str]:
    """util-linux alone: the namespaces by unshare, the root by a script in them."""
    root = os.geteuid() == 0
    user = [] if root else ["--user", "--map-root-user"]
    spaces = [*user, "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child"]
    drop = as_nobody() or ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--"]
    return ["unshare", *spaces, "--", "sh", "-c", SCRIPT, "sh", str(code.disk_mb << 20), prefix(), *drop]


def no_walls(code: Code) -> list[str]:
    """No walls: the limits alone."""
    return as_nobody()


WALLS: dict[str, Callable[[Code], list[str]]] = {"bwrap": _bwrap, "unshare": _unshare, "none": no_walls}
"""What stands before the interpreter, by the name of the isolation."""


def command(kind: str, code: Code) -> list[str] | None:
    """The words that start a shut-away interpreter, each program by its path; none where one is not installed. It dies
    with the thread that starts it."""
    words = ["setpriv", "--pdeathsig=KILL", "--", *WALLS[kind](code)]
    places = {name: shutil.which(name) for name in ("setpriv", kind) if name in words}
    if None in places.values():
        return None
    return [*(places.get(word) or word for word in words), python(), *PYTHON_FLAGS]
