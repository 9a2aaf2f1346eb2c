"""What the first process of a pid namespace has to do: collect the dead and pass signals on.

Without it a program that runs as process 1 ignores SIGTERM unless it asks for it, and zombies pile up. When
process 1 exits, the kernel kills everything else in its namespace, which is how nothing is ever left behind.
"""

import os
import signal
from types import FrameType
from typing import NoReturn

_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def exit_code(status: int) -> int:
    """A wait status as shells and Kubernetes count it: 128 and the signal's number for the killed."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def serve(child: int) -> NoReturn:
    """Pass signals on to the child, reap whoever dies, and exit as the child does."""

    def forward(number: int, _: FrameType | None) -> None:
        os.kill(child, number)

    for number in _FORWARDED:
        signal.signal(number, forward)
    while True:
        pid, status = os.wait()
        if pid == child:
            os._exit(exit_code(status))


def restore_signals() -> None:
    """Undo what the interpreter changed, before another program is executed."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
