"""This machine's processes, as the kernel shows them."""

from pathlib import Path


def command_lines() -> dict[int, str]:
    """The command line of every process, by its id."""
    found: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            content = (folder / "cmdline").read_bytes()
        except OSError:
            # It has ended while we looked.
            continue
        found[int(folder.name)] = content.replace(b"\0", b" ").decode(errors="replace")
    return found


def parents() -> dict[int, int]:
    """The parent of every process."""
    found: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found[int(folder.name)] = int(fields[1])
    return found


def descendants(pid: int) -> set[int]:
    """Everything that a process started, and what that started, and so on."""
    tree = parents()
    found = {pid}
    while more := {child for child, parent in tree.items() if parent in found} - found:
        found |= more
    return found - {pid}
