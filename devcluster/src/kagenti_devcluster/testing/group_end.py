"""Ends a process group when who started it is killed: `group_end <group>`, a pipe as stdin.

The kernel kills a child with its parent where that is asked for, but not what the child itself has started.
Who ends in order says `release` first. Killed, it cannot say anything: the pipe ends, and so does the group.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress

_RELEASE = b"release\n"


class GroupEnd:
    """A process of its own that waits for the word or the end of the one that made it."""

    def __init__(self, group: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, str(group)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            # Ctrl-C in the terminal is for the one in front, who then stops the group in order.
            start_new_session=True,
        )

    def release(self) -> None:
        """Leave the group to itself."""
        self._process.communicate(_RELEASE)


def main(arguments: list[str]) -> int:
    """Wait for the end of stdin; kill the group unless it was released."""
    if sys.stdin.buffer.read() != _RELEASE:
        with suppress(ProcessLookupError):
            os.killpg(int(arguments[0]), signal.SIGKILL)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
