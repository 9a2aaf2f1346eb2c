"""Which processes belong to a cluster, and which of them are still there."""

from pathlib import Path

from kagenti_devcluster.host.daemon import start_time

# Ids are used again; together with the time of its start a process has one of its own.
type Identity = tuple[int, int]


def descendants(root: int) -> set[Identity]:
    """A process and everything that it started, directly or not."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(int(fields[1]), []).append(int(folder.name))
    found: set[Identity] = set()
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        started = start_time(pid)
        if started is not None:
            found.add((pid, started))
        waiting += children.get(pid, [])
    return found


def alive(processes: set[Identity]) -> list[str]:
    """The command lines of those that are still there."""
    left: list[str] = []
    for pid, started in processes:
        if start_time(pid) != started:
            continue
        try:
            command = (Path("/proc") / str(pid) / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        # One that has ended and is not yet collected has no command line.
        if command:
            left.append(command.replace(b"\0", b" ").decode(errors="replace").strip())
    return left
