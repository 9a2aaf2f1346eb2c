"""Starts and stops a cluster from the machine's side: for the command line, the demo and the tests."""

import contextlib
import fcntl
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import msgspec

from kagenti_devcluster.errors import DevClusterError
from kagenti_devcluster.host.daemon import Holder, start_time, write_holder
from kagenti_devcluster.host.options import ClusterOptions
from kagenti_devcluster.host.paths import StatePaths
from kagenti_devcluster.host.state_dir import check_own, remove_own
from kagenti_devcluster.host.status import Status, read_status
from kagenti_devcluster.process.program import program

START_SECONDS = 300.0
_STOP_SECONDS = 40.0
_POLL_SECONDS = 0.1
_HOLDER_SECONDS = 5.0
# The number of the open lock in the daemon.
_DAEMON_LOCK = 3


class AlreadyRunning(DevClusterError):
    """A cluster runs in this state directory."""


def _take_lock(path: Path) -> IO[bytes] | None:
    """Lock the state directory for as long as the file stays open somewhere; None where it is locked."""
    # Whatever it holds: it may be somebody else's.
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def find_daemon(paths: StatePaths) -> int | None:
    """The process id of the running cluster's daemon; None where none runs, whatever was left behind."""
    deadline = time.monotonic() + _HOLDER_SECONDS
    while paths.lock.exists():
        if (lock := _take_lock(paths.lock)) is not None:
            lock.close()
            return None
        holder = _read_holder(paths)
        if holder is not None and start_time(holder.pid) == holder.started:
            return holder.pid
        if time.monotonic() > deadline:
            raise DevClusterError(
                f"{paths.lock} is held by another process than {paths.pid} says: "
                "is another version of this program running?"
            )
        # It was locked this very moment.
        time.sleep(_POLL_SECONDS)
    return None


def _read_holder(paths: StatePaths) -> Holder | None:
    try:
        return msgspec.json.decode(paths.pid.read_bytes(), type=Holder)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DevClusterError(
            f"{paths.pid} is damaged ({error}): it does not say which process holds {paths.lock}; end that "
            "process, or name another one with --directory"
        ) from error


def _lock(paths: StatePaths) -> IO[bytes]:
    """Lock the state directory for a start. Raises AlreadyRunning."""
    while find_daemon(paths) is None:
        # Somebody who only looks holds it for a moment.
        if (lock := _take_lock(paths.lock)) is not None:
            return lock
        time.sleep(_POLL_SECONDS)
    raise AlreadyRunning(f"a cluster is running already, in {paths.root}")


def start(
    options: ClusterOptions, *, die_with_parent: bool = False, say: Callable[[str], None] = lambda _: None
) -> Status:
    """Start a cluster and return when it is ready; `say` is called with each step.

    `die_with_parent`: it ends with this process, even if that is killed, else it stays until `stop`. Raises
    AlreadyRunning, or DevClusterError with the reason why it did not become ready; a folder that holds
    something else is one. Interrupted, it leaves nothing. The kernel ties `die_with_parent` to the
    calling thread, so call it from the main one.
    """
    paths = StatePaths(options.directory)
    check_own(paths)
    paths.root.mkdir(parents=True, exist_ok=True)
    paths.root.chmod(0o700)
    lock = _lock(paths)
    command = [sys.executable, "-P", "-m", "kagenti_devcluster.host.daemon", options.encode()]
    if die_with_parent:
        command = program("die_with_parent", str(os.getpid()), *command)
    # Ctrl-C waits until it would end the daemon as well.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with lock:
            paths.status.unlink(missing_ok=True)
            daemon = _spawn(command, paths, lock.fileno())
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            return _wait_ready(paths, daemon, say)
        except BaseException:
            _end(daemon)
            raise
        finally:
            os.close(daemon)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _spawn(command: list[str], paths: StatePaths, lock: int) -> int:
    """Start a daemon, which goes on when we end and has the lock from now on; returns its open handle."""
    output = os.open(paths.node_log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    try:
        pid = os.posix_spawn(
            command[0],
            command,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
                (os.POSIX_SPAWN_DUP2, lock, _DAEMON_LOCK),
            ],
            # Ctrl-C in this terminal is for us.
            setsid=True,
            # What we hold back is not for it to hold back.
            setsigmask=(),
        )
    finally:
        os.close(output)
    write_holder(paths, pid)
    return os.pidfd_open(pid)


def _end(handle: int) -> None:
    """End a daemon in order, or after a while without; returns when it is gone."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        if not _has_ended(handle, _STOP_SECONDS):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            _has_ended(handle, None)
    # If we started it, it is for us to take note of its end.
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PIDFD, handle, os.WEXITED)


def _has_ended(handle: int, seconds: float | None) -> bool:
    return bool(select.select([handle], [], [], seconds)[0])


def _wait_ready(paths: StatePaths, daemon: int, say: Callable[[str], None]) -> Status:
    deadline = time.monotonic() + START_SECONDS
    seen = 0
    while time.monotonic() < deadline:
        ended = _has_ended(daemon, 0)
        status = read_status(paths.status)
        if status is not None:
            for step in status.steps[seen:]:
                say(step)
            seen = len(status.steps)
            if status.phase == "failed":
                raise DevClusterError(status.message)
            if status.phase == "ready":
                return status
        if ended:
            raise DevClusterError(f"the cluster ended while it started; see {paths.node_log}")
        time.sleep(_POLL_SECONDS)
    raise DevClusterError(f"the cluster was not ready within {START_SECONDS:.0f} s; see {paths.node_log}")


def stop(directory: Path) -> bool:
    """Stop the cluster in order; returns when it is gone, False where none was running."""
    pid = find_daemon(StatePaths(directory))
    if pid is None:
        return False
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        _end(handle)
    finally:
        os.close(handle)
    return True


def purge(directory: Path) -> bool:
    """Remove everything that a stopped cluster left, logs included; returns whether the directory is gone.

    It stays when there is something else in it. Raises AlreadyRunning, or DevClusterError for a
    directory that is not a cluster's.
    """
    paths = StatePaths(directory)
    check_own(paths)
    if find_daemon(paths) is not None:
        raise AlreadyRunning(f"a cluster is running in {directory}: stop it first")
    return remove_own(paths)
