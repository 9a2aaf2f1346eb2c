"""The operator as users run it: a process with flags and a kubeconfig, whose log is read line by line."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.support.tokens import TOKEN

FEATURES = ("--enable-mlflow", "--enable-otel-bootstrap")
_DEADLINE_SECONDS = 60.0
PROBES_OFF = ("--metrics-bind-address=0", "--health-probe-bind-address=0")


class OperatorProcess:
    """`kagenti-operator run`; stopped by its process id when the block ends."""

    def __init__(
        self,
        kubeconfig: Path,
        *flags: str,
        features: Sequence[str] = FEATURES,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        command = [sys.executable, "-m", "kagenti_operator.cli.main", "run", *features, *PROBES_OFF, *flags]
        env = {**os.environ, "KUBECONFIG": str(kubeconfig), **(environ or {})}
        for name in ("KUBERNETES_SERVICE_HOST", "POD_NAMESPACE"):
            if name not in (environ or {}):
                env.pop(name, None)
        self.process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.lines: list[dict[str, Any]] = []
        self._arrived = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        # Shown by pytest where the test failed.
        print(self.text())
        assert not TOKEN.search(self.text()), "the log holds a token"

    def _read(self) -> None:
        assert self.process.stdout is not None
        for raw in self.process.stdout:
            try:
                line = json.loads(raw)
            except ValueError:
                line = {"msg": raw.decode(errors="replace").rstrip(), "level": "unparsed"}
            with self._arrived:
                self.lines.append(line)
                self._arrived.notify_all()

    def logged(self, message: str) -> list[dict[str, Any]]:
        with self._arrived:
            return [line for line in self.lines if line.get("msg") == message]

    async def expect_log(
        self, message: str, *, matching: Callable[[dict[str, Any]], bool] = lambda _: True
    ) -> dict[str, Any]:
        """Wait for a log line with that message."""
        return await asyncio.to_thread(self._wait_for_log, message, matching)

    def _wait_for_log(self, message: str, matching: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + _DEADLINE_SECONDS
        with self._arrived:
            while True:
                for line in self.lines:
                    if line.get("msg") == message and matching(line):
                        return line
                left = deadline - time.monotonic()
                if left <= 0 or self.process.poll() is not None:
                    raise AssertionError(f"no log line {message!r}; the log is:\n{self.text()}")
                self._arrived.wait(min(left, 0.2))

    async def expect_failed_start(self) -> str:
        """Wait until it has ended by itself with status 1; returns its whole log."""
        assert await asyncio.to_thread(self.process.wait, _DEADLINE_SECONDS) == 1
        self.kill()
        return self.text()

    def text(self) -> str:
        return "\n".join(json.dumps(line) for line in self.lines)

    def stop(self, seconds: float = 30) -> int:
        """End it in order; return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(5)
        if self.process.stdout is not None:
            self.process.stdout.close()


type StartOperator = Callable[..., OperatorProcess]
