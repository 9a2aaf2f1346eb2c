"""Starts a container's process, and follows it to its end."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kagenti_devcluster.errors import DevClusterError
from kagenti_devcluster.node.rootfs import Step
from kagenti_devcluster.process.program import program

_START_SECONDS = 30.0
_OUTPUT_KEPT = 1024


class LaunchError(DevClusterError):
    """A container could not be started; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """All that a container is made of; `root` is an empty directory, `network` an open network namespace."""

    command: Sequence[str]
    environment: Mapping[str, str]
    directory: str
    hostname: str
    root: Path
    steps: Sequence[Step]
    network: int
    log: Path

    def encode(self) -> bytes:
        """As `kagenti_devcluster.process.container` reads it."""
        fields = {
            "command": self.command,
            "environment": self.environment,
            "directory": self.directory,
            "hostname": self.hostname,
            "root": str(self.root),
            "steps": self.steps,
            "network": self.network,
            "log": str(self.log),
        }
        return json.dumps(fields).encode()


class RunningContainer:
    """A container that was started."""

    def __init__(self, launch: Launch, process: asyncio.subprocess.Process, init_pid: int):
        self._launch = launch
        self._process = process
        self._init_pid = init_pid

    async def wait(self) -> int:
        """Its exit code, once it has ended and nothing of it runs any more."""
        return await self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        # It may have ended this very moment.
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def terminate(self) -> None:
        """Ask it to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it and all it started."""
        self._signal(signal.SIGUSR1)

    async def execute(self, command: Sequence[str]) -> tuple[int, str]:
        """Run a command inside; returns its exit code and the end of its output."""
        process = await asyncio.create_subprocess_exec(
            *program("execute", str(os.getpid()), str(self._init_pid)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        description = {
            "command": list(command),
            "environment": dict(self._launch.environment),
            "directory": self._launch.directory,
        }
        try:
            output, _ = await process.communicate(json.dumps(description).encode())
        finally:
            if process.returncode is None:
                process.kill()
        return process.returncode or 0, output[-_OUTPUT_KEPT:].decode(errors="replace")


async def _read_report(report: int) -> tuple[int, str]:
    """The init's process id and what went wrong; the report ends when the command runs."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(report, "rb", buffering=0)
    )
    try:
        content = (await reader.read()).decode(errors="replace")
    finally:
        transport.close()
    pid, problem = 0, ""
    for line in content.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "pid":
            pid = int(rest)
        else:
            problem = rest
    return pid, problem


async def _spawn(launch: Launch, report: int) -> asyncio.subprocess.Process:
    launch.root.mkdir(parents=True, exist_ok=True)
    launch.log.parent.mkdir(parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        *program("container", str(os.getpid()), str(report)),
        stdin=asyncio.subprocess.PIPE,
        pass_fds=(report, launch.network),
        process_group=0,
    )
    if process.stdin is not None:
        process.stdin.write(launch.encode())
        process.stdin.close()
    return process


async def start(launch: Launch) -> RunningContainer:
    """Start a container; returns when its command runs. Raises LaunchError with the reason."""
    reading, writing = os.pipe()
    try:
        process = await _spawn(launch, writing)
    except OSError as error:
        os.close(reading)
        raise LaunchError(f"the container could not be started: {error}") from error
    finally:
        os.close(writing)
    try:
        async with asyncio.timeout(_START_SECONDS):
            pid, problem = await _read_report(reading)
    except BaseException as error:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        if isinstance(error, TimeoutError):
            raise LaunchError(f"the container did not start within {_START_SECONDS:.0f} s") from error
        raise
    if problem or not pid:
        await process.wait()
        raise LaunchError(problem or f"the container ended while it was started; see {launch.log}")
    return RunningContainer(launch, process, pid)
