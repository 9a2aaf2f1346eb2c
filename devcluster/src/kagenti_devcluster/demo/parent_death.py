"""Ends a cluster when the demo that started it dies: `parent_death <state directory>`.

A demo that ends in order says `release` first, and the cluster stays.
"""

import sys
from pathlib import Path

from kagenti_devcluster.host import launcher
from kagenti_devcluster.process.last_will import LastWill, was_released


class Watchdog(LastWill):
    """Waits for the demo's word or its end."""

    def __init__(self, directory: Path) -> None:
        super().__init__(__name__, str(directory))


def main(arguments: list[str]) -> int:
    """End the cluster unless it was released."""
    if not was_released():
        launcher.stop(Path(arguments[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
