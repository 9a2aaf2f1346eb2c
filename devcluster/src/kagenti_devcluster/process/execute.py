"""Runs a command inside a running container, for exec probes: `execute <parent pid> <init pid>`.

The JSON on stdin has `command`, `environment` and `directory`. Exits as the command does.
"""

import json
import os
import sys
from typing import Any

from kagenti_devcluster.process import init, linux

_CANNOT_START = 126


def main(arguments: list[str]) -> None:
    """Join the namespaces of the container whose init is given, and run the command there."""
    parent, target = map(int, arguments)
    linux.die_with_parent(parent)
    launch: dict[str, Any] = json.load(sys.stdin)
    handle = os.pidfd_open(target)
    os.setns(handle, os.CLONE_NEWPID | os.CLONE_NEWNET | os.CLONE_NEWUTS | os.CLONE_NEWIPC | os.CLONE_NEWNS)
    os.close(handle)
    child = os.fork()
    if child == 0:
        try:
            linux.die_with_parent(0)
            os.chdir(launch["directory"])
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            linux.drop_privileges()
            init.restore_signals()
            os.execvpe(launch["command"][0], launch["command"], launch["environment"])
        except OSError as error:
            print(f"{launch['command'][0]}: {error}", file=sys.stderr)
        os._exit(_CANNOT_START)
    _, status = os.waitpid(child, 0)
    os._exit(init.exit_code(status))
