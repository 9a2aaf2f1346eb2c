"""The few kernel calls that Python has no function for, through libc. Standard library only.

Numbers are those of the kernel's headers (linux/prctl.h, linux/mount.h, linux/capability.h, asm/unistd.h).
"""

import ctypes
import errno
import os
import signal
from pathlib import Path

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 0x2

_PR_SET_PDEATHSIG = 1
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_SYS_PIVOT_ROOT = {"x86_64": 155}
_SYS_PIVOT_ROOT_GENERIC = 41
_SYS_MOUNT_SETATTR = 442
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_MOUNT_ATTR_RDONLY = 0x1

# What a container engine leaves a root process by default, minus MKNOD, which a user namespace lacks anyway.
_KEPT_CAPABILITIES = {
    0,  # CHOWN
    1,  # DAC_OVERRIDE
    3,  # FOWNER
    4,  # FSETID
    5,  # KILL
    6,  # SETGID
    7,  # SETUID
    8,  # SETPCAP
    10,  # NET_BIND_SERVICE
    18,  # SYS_CHROOT
}
_LAST_POSSIBLE_CAPABILITY = 63

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def die_with_parent(parent: int) -> None:
    """Have the kernel SIGKILL this process when its parent dies; exits at once if that happened already.

    `parent` is the parent's process id, or 0 where the parent lives in another pid namespace.
    """
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(1)


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """mount(2). Raises OSError that names the target."""
    result = _libc.mount(
        source.encode(),
        target.encode(),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        data.encode() if data else None,
    )
    _check(result, f"mount {source} at {target}")


def bind(source: str, target: str) -> None:
    """Show a file or a directory with everything mounted below it at another place."""
    mount(source, target, None, MS_BIND | MS_REC)


def make_read_only(target: str) -> None:
    """Make a mount and everything mounted below it read-only. Raises OSError; kernels before 5.12 cannot."""
    attributes = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    result = _libc.syscall(
        _SYS_MOUNT_SETATTR,
        _AT_FDCWD,
        target.encode(),
        _AT_RECURSIVE,
        ctypes.byref(attributes),
        ctypes.sizeof(attributes),
    )
    if result != 0 and ctypes.get_errno() == errno.ENOSYS:
        raise OSError(
            errno.ENOTSUP,
            f"cannot make {target} read-only, there is no mount_setattr: Linux 5.12 or later is needed",
        )
    _check(result, f"mount_setattr {target}")


def make_private() -> None:
    """Keep the mounts that follow to this mount namespace."""
    mount("none", "/", None, MS_REC | MS_PRIVATE)


def pivot_root(new_root: str) -> None:
    """Make a mount the root directory, and forget the old one."""
    os.chdir(new_root)
    number = _SYS_PIVOT_ROOT.get(os.uname().machine, _SYS_PIVOT_ROOT_GENERIC)
    # The old root is stacked on the new one, so no directory is needed to put it in (pivot_root(2), notes).
    _check(_libc.syscall(number, b".", b"."), f"pivot_root to {new_root}")
    _check(_libc.umount2(b".", MNT_DETACH), "umount of the old root")
    os.chdir("/")


def set_hostname(name: str) -> None:
    """sethostname(2)."""
    encoded = name.encode()
    _check(_libc.sethostname(encoded, len(encoded)), "sethostname")


def drop_privileges() -> None:
    """Keep what a container's root has; no program that is executed later gets more."""
    for capability in range(_LAST_POSSIBLE_CAPABILITY + 1):
        if capability not in _KEPT_CAPABILITIES and _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            # The kernel knows no further ones.
            break
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")


def map_user(uid: int, gid: int) -> None:
    """Become root of a user namespace just made, which is the given user outside."""
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
