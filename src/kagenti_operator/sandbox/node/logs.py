"""Keeps containers' logs from growing without bound."""

import asyncio
import shutil
from pathlib import Path

import structlog

from kagenti_operator.runtime.clock import Clock
from kagenti_operator.sandbox.node.pod import remove_tree
from kagenti_operator.sandbox.paths import StatePaths

log = structlog.get_logger("sandbox.logs")

MAX_BYTES = 10 * 1024 * 1024
# Pods that are gone leave their logs, so that one can see why they went.
MAX_PODS = 100
_LOOK_SECONDS = 15.0


def previous(path: Path) -> Path:
    """Where the part of a log goes that was too long to keep in place."""
    return path.with_name(f"{path.name}.1")


def bound_file(path: Path, limit: int = MAX_BYTES) -> bool:
    """Move a log's content away when it is too long; returns whether it was.

    The file stays the one that the container writes to, at its end: what is written between the copy and the
    cut is lost.
    """
    if path.stat().st_size <= limit:
        return False
    shutil.copyfile(path, previous(path))
    with path.open("r+b") as file:
        file.truncate(0)
    return True


def forget_pods(root: Path, keep: int = MAX_PODS) -> None:
    """Remove the logs of all but the latest pods."""
    folders = [pod for namespace in root.glob("*") for pod in namespace.glob("*")]
    folders.sort(key=lambda folder: folder.stat().st_mtime, reverse=True)
    for folder in folders[keep:]:
        remove_tree(folder)


def look_after(paths: StatePaths) -> None:
    """Cut logs that are too long, forget the oldest."""
    components = (paths.node_log, *paths.control_plane.glob("*.log"))
    for path in (*components, *paths.logs.glob("*/*/*.log")):
        if bound_file(path):
            log.info("A log was cut", log=str(path))
    forget_pods(paths.logs)


async def bound_logs(paths: StatePaths, clock: Clock) -> None:
    """Look after all logs until cancelled."""
    while True:
        await clock.sleep(_LOOK_SECONDS)
        await asyncio.to_thread(look_after, paths)
