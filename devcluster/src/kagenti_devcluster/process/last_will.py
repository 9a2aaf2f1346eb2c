"""A process that acts when the one that made it is killed: `<module> <argument>`, with a pipe as stdin.

Who ends in order says `release` first. Killed, it cannot say anything: the pipe ends, and the other acts.
"""

import subprocess
import sys

_RELEASE = b"release\n"


class LastWill:
    """A process of its own that waits for the word or the end of the one that made it."""

    def __init__(self, module: str, argument: str) -> None:
        """`module` is run with that argument, and asks `was_released` before it acts."""
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, argument],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            # Ctrl-C in the terminal is for the one in front, who then ends everything in order.
            start_new_session=True,
        )

    def release(self) -> None:
        """Have nothing done at the end."""
        self._process.communicate(_RELEASE)


def was_released() -> bool:
    """Wait for the end of stdin; tell whether it brought the word."""
    return sys.stdin.buffer.read() == _RELEASE
