"""The memory that the chart gives the operator, as a bound on a process."""

import uuid
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

CHART_MIB = 128
_CGROUPS = Path("/sys/fs/cgroup")
# Version 1 and version 2: where a group is made, and the file with its bound.
_HIERARCHIES: Sequence[tuple[Path, str]] = (
    (_CGROUPS / "memory", "memory.limit_in_bytes"),
    (_CGROUPS, "memory.max"),
)


@contextmanager
def bound_to_chart_memory(pid: int) -> Generator[None]:
    """Have the kernel kill the process beyond the chart's memory, where a cgroup may be made.

    Anywhere the block fails when the process has ended by then, or had more at any moment.
    """
    with suppress(OSError):
        _put_into_cgroup(pid)
    yield
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    assert "VmHWM" in fields, "the process has ended, as the kernel ends one that takes too much memory"
    assert int(fields["VmHWM"].split()[0]) < CHART_MIB * 1024


def _put_into_cgroup(pid: int) -> None:
    for parent, file in _HIERARCHIES:
        group = parent / f"kagenti-operator-{uuid.uuid4().hex[:8]}"
        if not parent.is_dir():
            continue
        group.mkdir()
        if (group / file).exists():
            (group / file).write_text(str(CHART_MIB * 2**20))
            (group / "cgroup.procs").write_text(str(pid))
            return
        group.rmdir()
