"""Runs a command that dies with the process that started it: `tether.py <parent pid> <command> ...`.

A program of its own, because `preexec_fn` is not safe beside threads. Executed by path with `python -I -S`,
so it imports the standard library only.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Ask the kernel for SIGKILL at the parent's death, then become the command."""
    parent, *command = arguments
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        sys.exit(f"prctl(PR_SET_PDEATHSIG): {os.strerror(ctypes.get_errno())}")
    # The parent may have died before the kernel was asked.
    if os.getppid() != int(parent):
        sys.exit("the parent has gone")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
