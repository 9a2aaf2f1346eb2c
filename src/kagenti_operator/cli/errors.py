"""What the command line cannot go on from, and what it ends with."""

import signal
from enum import IntEnum


class UsageError(Exception):
    """Something that the person who started the command has to mend; the text says what and how."""


class ExitStatus(IntEnum):
    """The exit codes of `kagenti-operator`, in docs/reference.md."""

    DONE = 0
    FAILED = 1
    # argparse's own, which ends the process itself.
    BAD_FLAGS = 2
    INTERRUPTED = 128 + signal.SIGINT
