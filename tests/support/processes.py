"""This machine's processes, as the kernel shows them (proc(5))."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from kagenti_devcluster.host.daemon import start_time

# Ids are reused: only together with the time of its start does one stand for a process.
type Identity = tuple[int, int]

_PROC = Path("/proc")


def all_pids() -> Iterator[int]:
    """Every process of this machine."""
    return (int(folder.name) for folder in _PROC.glob("[0-9]*"))


def read_command(pid: int) -> list[str]:
    """The command line of a process; empty once it has ended."""
    return _read_strings(pid, "cmdline")


def read_environment(pid: int) -> list[str]:
    """`NAME=value` for each variable that a process was started with; empty once it has ended."""
    return _read_strings(pid, "environ")


def _read_strings(pid: int, file: str) -> list[str]:
    try:
        content = (_PROC / str(pid) / file).read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return content.decode(errors="replace").split("\0") if content else []


def find_descendants(root: int) -> set[Identity]:
    """A process and everything that it started, directly or not."""
    children: dict[int, list[int]] = {}
    for pid in all_pids():
        try:
            fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(int(fields[1]), []).append(pid)
    found: set[Identity] = set()
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        started = start_time(pid)
        if started is not None:
            found.add((pid, started))
        waiting += children.get(pid, [])
    return found


def find_program(root: int, program: str) -> int:
    """The first of a process and its descendants that runs a module of the local cluster, or a binary."""
    return next(pid for pid, _ in sorted(find_descendants(root)) if _program(read_command(pid)) == program)


def _program(command: list[str]) -> str:
    """What a command runs. One that starts another names that too, further back."""
    modules = (argument for argument in command if argument.startswith("kagenti_devcluster."))
    return next(modules, Path(command[0]).name if command else "")


def find_alive(processes: Iterable[Identity]) -> list[str]:
    """The command lines of those that still run; one that has ended but was not waited for has none."""
    running = (read_command(pid) for pid, started in processes if start_time(pid) == started)
    return [" ".join(command).strip() for command in running if command]
