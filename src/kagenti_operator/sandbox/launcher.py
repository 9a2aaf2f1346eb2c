"""Starts and stops a sandbox from the machine's side: for the command line, the demo and the tests."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from kagenti_operator.sandbox.errors import SandboxError
from kagenti_operator.sandbox.keeper import Holder, start_time, take_lock
from kagenti_operator.sandbox.node.logs import remove_tree
from kagenti_operator.sandbox.options import SandboxOptions
from kagenti_operator.sandbox.paths import StatePaths
from kagenti_operator.sandbox.process.program import program
from kagenti_operator.sandbox.status import Status, read_status

START_SECONDS = 300.0
_STOP_SECONDS = 40.0
_POLL_SECONDS = 0.1


class AlreadyRunning(SandboxError):
    """A sandbox runs in this state folder."""


def find_keeper(paths: StatePaths) -> int | None:
    """The process id of the running sandbox's keeper; None where none runs, whatever was left behind."""
    if not paths.lock.exists():
        return None
    if (lock := take_lock(paths.lock)) is not None:
        lock.close()
        return None
    try:
        holder = msgspec.json.decode(paths.pid.read_bytes(), type=Holder)
    except (FileNotFoundError, msgspec.DecodeError):
        # It has taken the lock this very moment.
        return None
    return holder.pid if start_time(holder.pid) == holder.started else None


def start(
    options: SandboxOptions, *, tethered: bool = False, say: Callable[[str], None] = lambda _: None
) -> Status:
    """Start a sandbox and return when it is ready; `say` hears of each step.

    `tethered`: it dies with this process, even if that is killed; otherwise it stays until `stop`. Raises
    AlreadyRunning, or SandboxError with the reason why it did not become ready. Interrupted, it leaves
    nothing.
    """
    paths = StatePaths(options.directory)
    paths.root.mkdir(parents=True, exist_ok=True)
    paths.root.chmod(0o700)
    if find_keeper(paths) is not None:
        raise AlreadyRunning(f"a sandbox is running already, in {paths.root}")
    paths.status.unlink(missing_ok=True)
    command = [sys.executable, "-P", "-m", "kagenti_operator.sandbox.keeper", options.encode()]
    if tethered:
        command = program("tether", str(os.getpid()), *command)
    with paths.node_log.open("wb") as output:
        keeper = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C in this terminal is for us.
            start_new_session=True,
        )
    try:
        return _wait_ready(paths, keeper, say)
    except BaseException:
        keeper.terminate()
        try:
            keeper.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            keeper.kill()
            keeper.wait()
        raise


def _wait_ready(paths: StatePaths, keeper: subprocess.Popen[bytes], say: Callable[[str], None]) -> Status:
    deadline = time.monotonic() + START_SECONDS
    told = 0
    while time.monotonic() < deadline:
        ended = keeper.poll() is not None
        status = read_status(paths.status)
        if status is not None:
            for step in status.steps[told:]:
                say(step)
            told = len(status.steps)
            if status.phase == "failed":
                raise SandboxError(status.message)
            if status.phase == "ready":
                return status
        if ended:
            raise SandboxError(f"the sandbox ended while it started; see {paths.node_log}")
        time.sleep(_POLL_SECONDS)
    raise SandboxError(f"the sandbox was not ready within {START_SECONDS:.0f} s; see {paths.node_log}")


def stop(directory: Path) -> bool:
    """Stop the sandbox in order; returns when it is gone, False where none was running."""
    pid = find_keeper(StatePaths(directory))
    if pid is None:
        return False
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        if not select.select([handle], [], [], _STOP_SECONDS)[0]:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            select.select([handle], [], [])
    except ProcessLookupError:
        # It ended by itself meanwhile.
        return True
    finally:
        os.close(handle)
    return True


def purge(directory: Path) -> None:
    """Remove everything that a stopped sandbox left, logs included. Raises AlreadyRunning."""
    if find_keeper(StatePaths(directory)) is not None:
        raise AlreadyRunning(f"a sandbox is running in {directory}: stop it first")
    remove_tree(directory)
