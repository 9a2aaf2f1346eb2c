"""Runs one container: `container <parent pid> <report fd>`, with a launch description as JSON on stdin.

Joins the pod's network, makes mount, pid and host name namespaces, assembles the root, and executes the
command beside an init. Reports `pid <n>`, the init's process id, then `error <text>` if the command could
not be executed; the report's end without an error means that it runs. SIGTERM is passed on; SIGUSR1 kills
the container. Copies the output into the log meanwhile. Exits as the command does.
"""

import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from kagenti_devcluster.process import init, linux, logfile

_MS_NOSUID_NODEV_NOEXEC = 0x2 | 0x4 | 0x8
_CANNOT_START = 128


def _step(root: str, step: list[str]) -> None:
    action, path, *rest = step
    target = root + path
    match action:
        case "dir":
            Path(target).mkdir(parents=True, exist_ok=True)
        case "file":
            if not os.path.lexists(target):
                Path(target).parent.mkdir(parents=True, exist_ok=True)
                Path(target).touch()
        case "link":
            Path(target).symlink_to(rest[0])
        case "tmpfs":
            linux.mount("tmpfs", target, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, f"mode={rest[0]}")
        case "bind":
            linux.bind(rest[0], target)
        case "bind-ro":
            linux.bind(rest[0], target)
            linux.make_read_only(target)
        case _:
            raise ValueError(f"unknown step {action}")


def _mount_proc(root: str) -> None:
    try:
        linux.mount("proc", f"{root}/proc", "proc", _MS_NOSUID_NODEV_NOEXEC)
    except PermissionError:
        # This machine hides parts of its /proc, so we may not have one of our own: show the outer one.
        linux.bind("/proc", f"{root}/proc")


def _report(report: int, text: str) -> None:
    os.write(report, f"{text}\n".encode())


def _execute(launch: dict[str, Any], report: int, output: int) -> NoReturn:
    """Become the command. The report closes by itself when that succeeds."""
    try:
        directory = Path(launch["directory"])
        directory.mkdir(parents=True, exist_ok=True)
        os.chdir(directory)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        # A pipe, not the log itself: who opens /dev/stderr anew would write over its beginning.
        for standard in (1, 2):
            os.dup2(output, standard)
        linux.drop_privileges()
        init.restore_signals()
        os.setsid()
        command: list[str] = launch["command"]
        os.execvpe(command[0], command, launch["environment"])
    except OSError as error:
        _report(report, f"error {launch['command'][0]}: {error}")
    os._exit(_CANNOT_START)


def _run_init(launch: dict[str, Any], report: int, go: int, output: int) -> NoReturn:
    linux.die_with_parent(0)
    # Had the parent died before the kernel knew, nobody would write this byte.
    if not os.read(go, 1):
        os._exit(1)
    os.close(go)
    root: str = launch["root"]
    try:
        _mount_proc(root)
        linux.pivot_root(root)
    except OSError as error:
        _report(report, f"error {error}")
        os._exit(_CANNOT_START)
    child = os.fork()
    if child == 0:
        _execute(launch, report, output)
    os.close(report)
    os.close(output)
    init.serve(child)


def _assemble(launch: dict[str, Any]) -> None:
    os.setns(launch["network"], os.CLONE_NEWNET)
    os.unshare(os.CLONE_NEWNS | os.CLONE_NEWPID | os.CLONE_NEWUTS | os.CLONE_NEWIPC)
    linux.set_hostname(launch["hostname"])
    linux.make_private()
    root: str = launch["root"]
    linux.mount("tmpfs", root, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=755")
    for step in launch["steps"]:
        _step(root, step)


def main(arguments: list[str]) -> None:
    """Run one container, wait for its end."""
    parent, report = map(int, arguments)
    linux.die_with_parent(parent)
    launch: dict[str, Any] = json.load(sys.stdin)
    os.set_inheritable(report, False)
    try:
        log = logfile.LogFile(launch["log"])
        _assemble(launch)
    except (OSError, ValueError) as error:
        _report(report, f"error {error}")
        sys.exit(_CANNOT_START)
    os.close(launch["network"])
    go, ready = os.pipe()
    source, output = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ready)
        os.close(source)
        _run_init(launch, report, go, output)
    os.close(output)

    def forward(number: int, _: FrameType | None) -> None:
        os.kill(child, signal.SIGKILL if number == signal.SIGUSR1 else number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, forward)
    _report(report, f"pid {child}")
    os.close(report)
    os.write(ready, b"1")
    logfile.copy(source, log)
    _, status = os.waitpid(child, 0)
    os._exit(init.exit_code(status))
