"""Ends a cluster when the demo that started it dies: `parent_death <state directory>`, a pipe as stdin.

A demo that ends in order says `release` first, and the cluster stays. Killed, it cannot say anything: the
pipe ends, and so does the cluster.
"""

import subprocess
import sys
from pathlib import Path

from kagenti_devcluster.host import launcher

_RELEASE = b"release\n"


class Watchdog:
    """A process of its own that waits for the demo's word or its end."""

    def __init__(self, directory: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            # Ctrl-C in the terminal is for the demo, which then ends the cluster itself.
            start_new_session=True,
        )

    def release(self) -> None:
        """Leave the cluster to itself."""
        self._process.communicate(_RELEASE)


def main(arguments: list[str]) -> int:
    """Wait for the end of stdin; end the cluster unless it was released."""
    if sys.stdin.buffer.read() != _RELEASE:
        launcher.stop(Path(arguments[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
