"""The demo as a person runs it: the command, and what it prints."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kagenti_devcluster.demo.steps_cluster import SECRET_KEYS

_TITLE = re.compile(r"^ ?\d+/\d+ (?P<title>.+?)(?P<skipped>: skipped)?$")


def command(directory: Path, *arguments: str) -> list[str]:
    """`kagenti-devcluster ...` on a state directory."""
    action, *rest = arguments
    program = Path(sys.executable).with_name("kagenti-devcluster")
    return [str(program), action, "--directory", str(directory), *rest]


@dataclass(frozen=True)
class DemoRun:
    """What one run printed, and how it ended."""

    output: str
    status: int

    def block(self, title: str) -> str:
        """What the run said of one step."""
        lines: list[str] = []
        inside = False
        for line in self.output.splitlines():
            if match := _TITLE.match(line):
                inside = match["title"] == title
                if inside and match["skipped"]:
                    lines.append("skipped")
            elif inside:
                lines.append(line)
        return "\n".join(lines)

    def holds(self, title: str) -> bool:
        """Whether the checks of one step held."""
        return "      ✔ " in self.block(title)


def run_demo(
    directory: Path, *arguments: str, seconds: float, model: Mapping[str, str] | None = None
) -> DemoRun:
    """Run `kagenti-devcluster demo` and show its output (pytest -s); `model` are variables for it."""
    environment = {k: v for k, v in os.environ.items() if k not in SECRET_KEYS} | dict(model or {})
    with subprocess.Popen(
        command(directory, "demo", *arguments),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        alarm = threading.Timer(seconds, process.terminate)
        alarm.start()
        assert process.stdout is not None
        lines: list[str] = []
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
        alarm.cancel()
    return DemoRun("".join(lines), process.returncode)


def run_command(directory: Path, arguments: Sequence[str], seconds: float = 120.0) -> str:
    """Run another command of `kagenti-devcluster`; it must succeed."""
    done = subprocess.run(
        command(directory, *arguments), capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == 0, (
        f"{' '.join(arguments)} ended with {done.returncode}: {done.stdout}{done.stderr}"
    )
    return done.stdout
