"""Runs a command as in a container of the image: `image_root.py ROOT [SOURCE PATH]... -- COMMAND...`.

The root is read-only and holds this interpreter at the image's place, the machine's libraries, what is to be
shown, and a writable /tmp. There is no shell, nothing of the checkout, and no other package. The user is the
image's, without any privilege.
"""

import os
import sys
import sysconfig
from pathlib import Path

from kagenti_devcluster.process import linux

USER = 65532
INTERPRETER = "/usr/bin/python3.13"
STDLIB = sysconfig.get_path("stdlib")
LIBRARIES = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/etc/ld.so.cache",
    sysconfig.get_config_var("LIBDIR"),
)
PACKAGES = (f"{STDLIB}/site-packages", f"{STDLIB}/dist-packages", "/usr/lib/python3/dist-packages")
DEVICES = ("/dev/null", "/dev/urandom")


def show(root: str, source: str, path: str) -> None:
    target = Path(root + path)
    if Path(source).is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    linux.bind(source, str(target))
    if path not in DEVICES:
        linux.make_read_only(str(target))


def empty(path: str) -> None:
    linux.mount("tmpfs", path, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV)


def assemble(root: str, shown: list[str]) -> None:
    empty(root)
    for path in (*LIBRARIES, STDLIB, *DEVICES):
        if Path(path).exists():
            show(root, path, path)
    for path in PACKAGES:
        if Path(root + path).exists():
            empty(root + path)
    show(root, os.path.realpath(sys.executable), INTERPRETER)
    for source, path in zip(shown[::2], shown[1::2], strict=True):
        show(root, source, path)
    Path(f"{root}/tmp").mkdir()
    empty(f"{root}/tmp")
    linux.mount("none", root, None, linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY)


def main(root: str, *arguments: str) -> None:
    end = arguments.index("--")
    uid, gid = os.getuid(), os.getgid()
    os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNS)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{USER} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{USER} {gid} 1")
    linux.make_private()
    assemble(root, list(arguments[:end]))
    linux.pivot_root(root)
    command = arguments[end + 1 :]
    # The interpreter would look for its library beside itself.
    os.execve(command[0], command, {**os.environ, "PYTHONHOME": sys.base_prefix})


if __name__ == "__main__":
    main(*sys.argv[1:])
