"""The logs of a workload's pods, read as `kagenti-devcluster logs` reads them."""

import re
from pathlib import Path

from kagenti_devcluster.host.logs import find_logs, read_lines
from kagenti_devcluster.host.paths import StatePaths


class PodLogs:
    """Reads the logs of a workload's pods, of those that are gone as well, the oldest first."""

    def __init__(self, paths: StatePaths) -> None:
        self._paths = paths
        self._marks: dict[Path, int] = {}

    def read(self, namespace: str, workload: str) -> list[str]:
        """All lines."""
        return [line for path in self._find(namespace, workload) for line in read_lines(path, None)]

    def read_latest(self, namespace: str, workload: str) -> list[str]:
        """All lines of the pod that was made last."""
        return [line for path in self._find(namespace, workload)[-1:] for line in read_lines(path, None)]

    def mark(self, namespace: str, workload: str) -> None:
        """Remember where the logs end now."""
        for path in self._find(namespace, workload):
            self._marks[path] = len(read_lines(path, None))

    def since_mark(self, namespace: str, workload: str) -> list[str]:
        """The lines since then."""
        paths = self._find(namespace, workload)
        return [line for path in paths for line in read_lines(path, None)[self._marks.get(path, 0) :]]

    def _find(self, namespace: str, workload: str) -> list[Path]:
        # A pod is named after what made it: a ReplicaSet with a hash of its own, or a StatefulSet.
        pods = re.compile(rf"{re.escape(f'{namespace}/{workload}')}-([a-z0-9]+-[a-z0-9]{{5}}|\d+)/")
        return [log.path for log in find_logs(self._paths) if pods.match(log.name)]
