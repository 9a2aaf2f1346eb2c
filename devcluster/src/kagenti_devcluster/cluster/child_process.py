"""One long-running program of the control plane: it dies with this process and logs to a file."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from kagenti_devcluster.errors import DevClusterError
from kagenti_devcluster.process.program import program

_LOG_TAIL = 20


class ChildProcess:
    """A child process that does not outlive this one."""

    def __init__(self, name: str, command: Sequence[str | Path], *, directory: Path, log: Path):
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                program("die_with_parent", str(os.getpid()), *map(str, command)),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C in the terminal is for the one in front, who then stops us in order.
                process_group=0,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not exited yet."""
        return self._process.poll() is None

    def check(self) -> None:
        """Raise DevClusterError with the end of the log if it has exited."""
        if not self.running:
            raise DevClusterError(f"{self.name} exited with {self._process.returncode}: {self.tail()}")

    def tail(self) -> str:
        """The last lines of its log, and where the rest is."""
        lines = self.log.read_text(errors="replace").splitlines()[-_LOG_TAIL:]
        return "\n".join([f"the last lines of {self.log}:", *lines])

    def terminate(self, grace: float) -> None:
        """SIGTERM, then SIGKILL after `grace` seconds; returns when it is gone."""
        if self.running:
            self._process.terminate()
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self._process.kill()
        self._process.wait()
