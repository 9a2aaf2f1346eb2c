"""Runs a command as root of namespaces of its own: `enter <parent pid> <command> ...`.

User, mount, pid, network, IPC and host name namespaces, without being root outside. Whatever the command
starts dies with this process, and this process with its parent: the command's pid namespace ends with it.
"""

import os
import signal
import sys
from types import FrameType

from kagenti_devcluster.process import init, linux

_NAMESPACES = (
    os.CLONE_NEWUSER | os.CLONE_NEWNS | os.CLONE_NEWPID | os.CLONE_NEWNET | os.CLONE_NEWIPC | os.CLONE_NEWUTS
)
_MS_NOSUID_NODEV_NOEXEC = 0x2 | 0x4 | 0x8

REFUSED = """\
this kernel does not let an ordinary user make {what} ({error}); the cluster's node and pods need them.
What to do, as the machine's administrator:
  Ubuntu 23.10 and later: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0
  Debian before 11:       sysctl -w kernel.unprivileged_userns_clone=1
  elsewhere:              sysctl -w user.max_user_namespaces=15000
In a container, run it with --security-opt seccomp=unconfined --security-opt apparmor=unconfined, or use a
virtual machine."""
# Says that it is the kernel's refusal, not a failure of the command.
REFUSED_EXIT_CODE = 77


def _refuse(what: str, error: OSError) -> None:
    print(REFUSED.format(what=what, error=error.strerror), file=sys.stderr)
    sys.exit(REFUSED_EXIT_CODE)


def _enter_namespaces() -> None:
    uid, gid = os.getuid(), os.getgid()
    try:
        os.unshare(_NAMESPACES)
        linux.map_user(uid, gid)
        # AppArmor on Ubuntu allows the namespace and then refuses everything in it.
        linux.make_private()
    except OSError as error:
        _refuse("user namespaces", error)


def _mount_proc() -> None:
    try:
        linux.mount("proc", "/proc", "proc", _MS_NOSUID_NODEV_NOEXEC)
    except PermissionError:
        # Parts of /proc are hidden from us, as in a container: the old one goes on showing outer processes,
        # and everything still works.
        print("no /proc of our own: this machine hides parts of its /proc", file=sys.stderr)


def _run_init(command: list[str], go: int) -> None:
    # The parent's process id is not visible here.
    linux.die_with_parent(0)
    # Had the parent died before the kernel knew, nobody would write this byte.
    if not os.read(go, 1):
        os._exit(1)
    os.close(go)
    _mount_proc()
    if (child := os.fork()) == 0:
        init.restore_signals()
        os.execv(command[0], command)
    init.serve(child)


def main(arguments: list[str]) -> None:
    """Enter the namespaces, run the command in them, exit as it does."""
    parent, *command = arguments
    linux.die_with_parent(int(parent))
    _enter_namespaces()
    go, ready = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ready)
        _run_init(command, go)

    def forward(number: int, _: FrameType | None) -> None:
        os.kill(child, number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, forward)
    os.write(ready, b"1")
    _, status = os.waitpid(child, 0)
    os._exit(init.exit_code(status))
