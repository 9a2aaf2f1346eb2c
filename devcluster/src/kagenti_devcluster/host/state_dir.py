"""Whose a state directory is, and what a cluster removes from it: what it made, and nothing else."""

from collections.abc import Iterator
from pathlib import Path

from kagenti_devcluster.errors import DevClusterError
from kagenti_devcluster.host.paths import StatePaths
from kagenti_devcluster.node.logs import previous_part
from kagenti_devcluster.trees import remove_tree


def check_own(paths: StatePaths) -> None:
    """Accept a directory that is missing, empty or a cluster's. Raises DevClusterError for any other.

    A cluster's has an empty lock and names its daemon, unless its start was killed before it could.
    """
    try:
        names = {entry.name for entry in paths.root.iterdir()}
    except FileNotFoundError:
        return
    has_lock = paths.lock.name in names and paths.lock.stat().st_size == 0
    if not names or (has_lock and (paths.pid.name in names or names <= {p.name for p in _begun(paths)})):
        return
    raise DevClusterError(
        f"{paths.root} holds files that are not a cluster's: nothing was changed in it; "
        "name another directory with --directory, one that is empty or does not exist"
    )


def remove(path: Path) -> None:
    """Remove a file, or a directory with all that is in it; a link without what it leads to."""
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)


def remove_own(paths: StatePaths) -> bool:
    """Remove what clusters made; returns whether the directory itself went, as nothing else was in it."""
    for path in (*paths.volatile, paths.logs, paths.helm, paths.status, *_unfinished(paths, paths.status)):
        remove(path)
    remove(previous_part(paths.node_log))
    # Last what marks the directory as a cluster's: after an interruption it can be done again.
    for path in _begun(paths):
        remove(path)
    if paths.root.is_symlink() or any(paths.root.iterdir()):
        return False
    paths.root.rmdir()
    return True


def _begun(paths: StatePaths) -> list[Path]:
    """What there is at most before a start has recorded its daemon; the lock is the last."""
    return [paths.node_log, *_unfinished(paths, paths.pid), paths.pid, paths.lock]


def _unfinished(paths: StatePaths, path: Path) -> Iterator[Path]:
    """Files that were to replace another when their writer was killed."""
    return paths.root.glob(f".{path.name}.[0-9]*")
