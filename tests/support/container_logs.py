"""Logs of containers where the local cluster keeps them."""

from pathlib import Path

from kagenti_devcluster.host.paths import StatePaths


def append_log(paths: StatePaths, pod: str, text: str) -> Path:
    """Add text to the log of a pod of team1; returns the log's path."""
    log = paths.container_log("team1", pod, "main")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        file.write(text)
    return log
