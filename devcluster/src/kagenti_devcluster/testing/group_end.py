"""Ends a process group when who started it is killed: `group_end <group>`.

The kernel kills a child with its parent where that is asked for, but not what the child itself has started.
"""

import os
import signal
import sys
from contextlib import suppress

from kagenti_devcluster.process.last_will import LastWill, was_released


class GroupEnd(LastWill):
    """Waits for the word or the end of the one that made it."""

    def __init__(self, group: int) -> None:
        super().__init__(__name__, str(group))


def main(arguments: list[str]) -> int:
    """Kill the group unless it was released."""
    if not was_released():
        with suppress(ProcessLookupError):
            os.killpg(int(arguments[0]), signal.SIGKILL)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
