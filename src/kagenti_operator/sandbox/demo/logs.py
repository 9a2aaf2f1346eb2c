"""The logs that the node keeps of each container, as `sandbox logs` shows them."""

from pathlib import Path

from kagenti_operator.sandbox.paths import StatePaths


class PodLogs:
    """Reads the logs of a workload's pods, of those that are gone as well, the oldest first."""

    def __init__(self, paths: StatePaths) -> None:
        self._paths = paths
        self._marks: dict[Path, int] = {}

    def read(self, namespace: str, workload: str) -> list[str]:
        """All lines."""
        return [line for file in self._files(namespace, workload) for line in _lines(file)]

    def mark(self, namespace: str, workload: str) -> None:
        """Remember where the logs end now."""
        for file in self._files(namespace, workload):
            self._marks[file] = len(_lines(file))

    def since_mark(self, namespace: str, workload: str) -> list[str]:
        """The lines since then."""
        files = self._files(namespace, workload)
        return [line for file in files for line in _lines(file)[self._marks.get(file, 0) :]]

    def _files(self, namespace: str, workload: str) -> list[Path]:
        # A pod is named after what made it; its directory is as old as the pod.
        found = (self._paths.logs / namespace).glob(f"{workload}-*/*.log")
        return sorted(found, key=lambda file: file.parent.stat().st_ctime)


def _lines(file: Path) -> list[str]:
    return file.read_text(errors="replace").splitlines()
