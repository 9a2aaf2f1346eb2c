"""How the demo talks: one block per step, live on a terminal, plain lines in a pipe or a file."""

import os
import shutil
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TextIO

from kagenti_devcluster.demo.failures import StepFailed

_GREEN, _RED, _DIM, _BOLD, _CYAN = "32", "31", "2", "1", "36"
_INDENT = "      "


@dataclass(frozen=True)
class Outcome:
    """What a step found: one line, and lines worth showing."""

    summary: str
    details: tuple[str, ...] = ()


class Console:
    """Writes to a stream; colour and a live line only where a person looks on."""

    def __init__(self, stream: TextIO, environ: Mapping[str, str] = os.environ) -> None:
        self._stream = stream
        self._live = stream.isatty() and environ.get("TERM") != "dumb"
        self._colour = self._live and not environ.get("NO_COLOR")
        self._noted = False

    def headline(self, text: str) -> None:
        """What is about to run."""
        self._line(self._paint(_BOLD, text))

    def begin(self, number: int, count: int, title: str, checks: str) -> None:
        """A step starts."""
        self._line("")
        self._line(f"{self._paint(_CYAN, f'{number:>2}/{count}')} {self._paint(_BOLD, title)}")
        for line in textwrap.wrap(checks, 100):
            self._line(f"{_INDENT}{self._paint(_DIM, line)}")

    def note(self, text: str) -> None:
        """What is being waited for; replaced by whatever comes next, and not written to a file at all."""
        if not self._live:
            return
        self._erase()
        width = shutil.get_terminal_size().columns - len(_INDENT) - 1
        self._stream.write(f"{_INDENT}{self._paint(_DIM, text[:width])}")
        self._stream.flush()
        self._noted = True

    def passed(self, outcome: Outcome, seconds: float) -> None:
        """The step's checks hold."""
        for line in outcome.details:
            self._line(f"{_INDENT}{line}".rstrip())
        self._line(f"{_INDENT}{self._paint(_GREEN, '✔')} {outcome.summary} ({seconds:.1f} s)")

    def failed(self, failure: StepFailed, seconds: float) -> None:
        """A check does not hold."""
        self._line(f"{_INDENT}{self._paint(_RED, '✘')} {failure.problem} ({seconds:.1f} s)")
        self._line(f"{_INDENT}  broken hop: {self._paint(_BOLD, failure.hop)}")
        for line in failure.excerpt:
            self._line(f"{_INDENT}  | {line}")
        if failure.advice:
            self._line(f"{_INDENT}  look further: {failure.advice}")

    def skipped(self, number: int, count: int, title: str) -> None:
        """A step that is skipped, because an earlier one failed."""
        self._line(self._paint(_DIM, f"{number:>2}/{count} {title}: skipped"))

    def say(self, lines: Iterable[str]) -> None:
        """Plain lines after an empty one."""
        self._line("")
        for line in lines:
            self._line(line)

    def _line(self, text: str) -> None:
        self._erase()
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def _erase(self) -> None:
        if self._noted:
            self._stream.write("\r\x1b[2K")
            self._noted = False

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text
