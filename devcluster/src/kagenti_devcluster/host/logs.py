"""Finds and follows the logs of a cluster: its components' and its containers'."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kagenti_devcluster.errors import DevClusterError
from kagenti_devcluster.host.paths import StatePaths
from kagenti_devcluster.node.logs import previous_part

NODE = "node"
_POLL_SECONDS = 0.3


@dataclass(frozen=True, slots=True, order=True)
class LogFile:
    """A log, under the name that people use for it: a component's, or namespace/pod/container."""

    name: str
    path: Path


def find_logs(paths: StatePaths) -> list[LogFile]:
    """All logs there are; containers' from the oldest to the latest pod."""
    components = [LogFile(NODE, paths.node_log)] if paths.node_log.exists() else []
    components += sorted(LogFile(path.stem, path) for path in paths.control_plane.glob("*.log"))
    containers = sorted(paths.logs.glob("*/*/*.log"), key=lambda path: path.parent.stat().st_ctime)
    return [*components, *(LogFile(_container_name(path), path) for path in containers)]


def _container_name(path: Path) -> str:
    return "/".join((*path.parts[-3:-1], path.stem))


def _matches(name: str, wanted: str) -> bool:
    """Whether a log is meant by a component's name, or by (the beginning of) a pod's, with more around it."""
    if name == wanted:
        return True
    parts = name.split("/")
    if len(parts) != 3:
        return False
    namespace, pod, container = parts
    given = wanted.split("/")
    match len(given):
        case 1:
            return pod.startswith(given[0])
        case 2:
            # Either the namespace or the container is named besides the pod.
            in_namespace = namespace == given[0] and pod.startswith(given[1])
            return in_namespace or (pod.startswith(given[0]) and container == given[1])
        case _:
            return namespace == given[0] and pod.startswith(given[1]) and container == given[2]


def select_logs(logs: Sequence[LogFile], wanted: str) -> list[LogFile]:
    """The logs that a name means. Raises DevClusterError with the names that there are."""
    found = [log for log in logs if _matches(log.name, wanted)]
    if not found:
        names = ", ".join(log.name for log in logs) or "none"
        raise DevClusterError(f"there is no log of {wanted!r}; those that there are: {names}")
    return found


def read_lines(path: Path, last: int | None) -> list[str]:
    """The lines of a log with the part that was moved away, all or the last few."""
    older = previous_part(path)
    text = older.read_text(errors="replace") if older.exists() else ""
    lines = (text + path.read_text(errors="replace")).splitlines()
    return lines if last is None else lines[max(len(lines) - last, 0) :]


class Follower:
    """Gives what is added to logs, also to those that appear later; begins at their present end."""

    def __init__(self, paths: StatePaths, wanted: str):
        self._paths = paths
        self._wanted = wanted
        self._positions = {log.path: log.path.stat().st_size for log in self._logs()}

    def _logs(self) -> list[LogFile]:
        return [log for log in find_logs(self._paths) if _matches(log.name, self._wanted)]

    def poll(self) -> list[tuple[LogFile, str]]:
        """What was added since the last time, per log."""
        added: list[tuple[LogFile, str]] = []
        for log in self._logs():
            position, size = self._positions.get(log.path, 0), log.path.stat().st_size
            if size < position:
                # It was too long, and begins anew.
                position = 0
            if size > position:
                with log.path.open("rb") as file:
                    file.seek(position)
                    content = file.read(size - position)
                added.append((log, content.decode(errors="replace")))
            self._positions[log.path] = size
        return added

    def run(self) -> Iterator[tuple[LogFile, str]]:
        """Go on until interrupted."""
        while True:
            yield from self.poll()
            time.sleep(_POLL_SECONDS)
