"""Keeps logs from growing without bound: those of components in size, those of pods in number.

How long a container's log may be is up to `kagenti_devcluster.process.logfile`.
"""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import structlog

from kagenti_devcluster.host.paths import StatePaths
from kagenti_devcluster.process.logfile import MAX_BYTES, previous
from kagenti_devcluster.trees import remove_tree

log = structlog.get_logger(__name__)

# Pods that are gone leave their logs, so that one can see why they went.
MAX_GONE_PODS = 100
_LOOK_SECONDS = 15.0

# Whether the node has a pod of that namespace and name.
type HasPod = Callable[[str, str], bool]


def previous_part(path: Path) -> Path:
    """Where the part of a log is that was too long to keep in place."""
    return path.with_name(previous(path.name))


def bound_file(path: Path, limit: int = MAX_BYTES) -> bool:
    """Move a log's content away when it is too long; returns whether it was.

    The file stays the one that the component writes to, at its end: what is written between the copy and the
    cut is lost.
    """
    if path.stat().st_size <= limit:
        return False
    shutil.copyfile(path, previous_part(path))
    with path.open("r+b") as file:
        file.truncate(0)
    return True


def forget_pods(root: Path, has_pod: HasPod, keep: int = MAX_GONE_PODS) -> None:
    """Remove the logs of all but the latest of the pods that are gone."""
    folders = [pod for pod in root.glob("*/*") if not has_pod(pod.parent.name, pod.name)]
    folders.sort(key=lambda folder: folder.stat().st_mtime, reverse=True)
    for folder in folders[keep:]:
        remove_tree(folder)


def look_after(paths: StatePaths, has_pod: HasPod) -> None:
    """Cut components' logs that are too long, forget the oldest of pods."""
    for path in (paths.node_log, *paths.control_plane.glob("*.log")):
        if bound_file(path):
            log.info("A log was cut", log=str(path))
    forget_pods(paths.logs, has_pod)


async def bound_logs(paths: StatePaths, has_pod: HasPod) -> None:
    """Look after all logs until cancelled."""
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        await asyncio.to_thread(look_after, paths, has_pod)
