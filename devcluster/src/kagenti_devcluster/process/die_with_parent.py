"""Runs a command that dies with the process that started it: `die_with_parent <parent pid> <command> ...`.

A program of its own, because `preexec_fn` is not safe beside threads.
"""

import os

from kagenti_devcluster.process import linux


def main(arguments: list[str]) -> None:
    """Ask the kernel for SIGKILL at the parent's death, then become the command."""
    parent, *command = arguments
    linux.die_with_parent(int(parent))
    os.execvp(command[0], command)
