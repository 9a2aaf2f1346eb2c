"""The host daemon: holds the cluster's lock, sockets on 127.0.0.1 and egress proxy, and starts its inside.

Whoever ends this process, in whatever way, ends the cluster.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path

import msgspec
import structlog

from kagenti_devcluster.cluster.proxy import listen_on_machine, open_directory
from kagenti_devcluster.host.egress import SOCKET as EGRESS_SOCKET
from kagenti_devcluster.host.egress import EgressProxy
from kagenti_devcluster.host.options import ClusterOptions
from kagenti_devcluster.host.paths import StatePaths
from kagenti_devcluster.host.port_forwards import API_SERVER, Inheritance
from kagenti_devcluster.host.state_dir import remove
from kagenti_devcluster.host.status import Status, read_status, write_status
from kagenti_devcluster.process.enter import REFUSED_EXIT_CODE
from kagenti_devcluster.process.program import program
from kagenti_operator.runtime.telemetry.logging import configure

log = structlog.get_logger(__name__)

# Longer than everything inside may take.
_STOP_SECONDS = 25.0
_TAIL_LINES = 15


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Which process holds the lock: its id, and when it started, because ids are used again."""

    pid: int
    started: int


def start_time(pid: int) -> int | None:
    """When a process started, in the kernel's ticks since boot (proc(5), stat); None where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(fields[19])


def write_holder(paths: StatePaths, pid: int) -> None:
    """Record which process holds the lock."""
    holder = Holder(pid=pid, started=start_time(pid) or 0)
    temporary = paths.pid.with_name(f".{paths.pid.name}.{os.getpid()}")
    temporary.write_bytes(msgspec.json.encode(holder))
    temporary.replace(paths.pid)


class HostDaemon:
    """Starts the inside, waits for its end, cleans up."""

    def __init__(self, options: ClusterOptions):
        self._options = options
        self._paths = StatePaths(options.directory)
        self._stopped = False

    def prepare(self) -> None:
        """Begin with an empty cluster: remove what an earlier one left."""
        for path in (*self._paths.volatile, self._paths.logs):
            remove(path)
        self._paths.run.mkdir()

    def _listen(self) -> dict[str, socket.socket]:
        sockets = {API_SERVER: listen_on_machine(0)}
        for published in self._options.published:
            sockets[published.name] = listen_on_machine(published.host_port)
        return sockets

    async def run(self) -> int:
        """Run the cluster until its end; returns the exit code."""
        # A socket's address is short, the state directory's path need not be.
        run = open_directory(self._paths.run)
        server = await EgressProxy().serve(f"/proc/self/fd/{run}/{EGRESS_SOCKET}")
        inside = await self._start_inside(self._listen())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._pass_on_stop, inside)
        code = await inside.wait()
        server.close()
        self._write_end(code)
        return code

    async def _start_inside(self, sockets: dict[str, socket.socket]) -> asyncio.subprocess.Process:
        inheritance = Inheritance(
            options=self._options.encode(),
            listeners={name: listener.fileno() for name, listener in sockets.items()},
            ports={name: listener.getsockname()[1] for name, listener in sockets.items()},
        )
        command = [sys.executable, "-P", "-m", "kagenti_devcluster.cluster.supervisor"]
        process = await asyncio.create_subprocess_exec(
            *program("enter", str(os.getpid()), *command, msgspec.json.encode(inheritance).decode()),
            pass_fds=list(inheritance.listeners.values()),
            process_group=0,
        )
        # From now on only the inside accepts: it would be a queue that nobody serves.
        for listener in sockets.values():
            listener.close()
        return process

    def _pass_on_stop(self, inside: asyncio.subprocess.Process) -> None:
        self._stopped = True
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ProcessLookupError):
            inside.terminate()
            loop.call_later(_STOP_SECONDS, self._end, inside)

    def _end(self, inside: asyncio.subprocess.Process) -> None:
        if inside.returncode is None:
            log.warning("The cluster did not stop in time, killing it", seconds=_STOP_SECONDS)
            inside.kill()

    def _write_end(self, code: int) -> None:
        """Leave a status that says how it ended; the inside knows best, unless it could not say anything."""
        status = read_status(self._paths.status) or Status(phase="failed", profile=self._options.profile)
        if self._stopped:
            status = msgspec.structs.replace(status, phase="stopped", message="")
        elif status.phase != "failed" or not status.message:
            status = msgspec.structs.replace(status, phase="failed", message=self._explain(code))
        write_status(self._paths.status, status)
        for path in self._paths.volatile:
            if path == self._paths.control_plane and path.is_dir():
                self._keep_logs_only(path)
            else:
                remove(path)

    def _keep_logs_only(self, directory: Path) -> None:
        for entry in directory.iterdir():
            if entry.suffix != ".log":
                remove(entry)

    def _explain(self, code: int) -> str:
        lines = self._paths.node_log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        if code == REFUSED_EXIT_CODE:
            return "\n".join(lines)
        return "\n".join(
            [f"the cluster ended with {code}; the last lines of {self._paths.node_log}:", *lines]
        )


def main(arguments: list[str]) -> int:
    """Run a cluster; the argument is its options in JSON. Output goes to the node's log.

    The state directory's lock is inherited, and held until the end of this process.
    """
    configure("text", "info")
    options = ClusterOptions.decode(arguments[0])
    write_holder(StatePaths(options.directory), os.getpid())
    daemon = HostDaemon(options)
    daemon.prepare()
    return asyncio.run(daemon.run())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
