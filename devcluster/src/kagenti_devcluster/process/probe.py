"""Tries what pods take of the kernel beyond namespaces, inside them: `probe`, run by `enter`."""

import sys

from kagenti_devcluster.process import linux


def main(_: list[str]) -> None:
    """Exit with the reason if a mount cannot be made read-only."""
    try:
        # Any folder will do: the mount is this process's own.
        linux.bind(sys.prefix, sys.prefix)
        linux.make_read_only(sys.prefix)
    except OSError as error:
        sys.exit(str(error))
