"""Runs the operator as in a pod, whose ServiceAccount folder is somewhere else, and lets others look inside.

Usage: launch.py SERVICE_ACCOUNT_FOLDER COUNTS_FILE PROFILE_FILE ARGUMENTS...   ("-": no profile)

On SIGUSR1 it writes to COUNTS_FILE how many tasks there are, and how many entries every collection has that
an object of the operator holds: whatever is kept per agent shows, without a list of what might be.
"""

import asyncio
import cProfile
import gc
import json
import signal
import sys
from collections import Counter, OrderedDict, deque
from pathlib import Path
from typing import Any

from kagenti_operator.cli.main import main as operator_main
from kagenti_operator.kube.auth import credentials

COLLECTIONS = (dict, OrderedDict, Counter, list, set, deque)
PACKAGE = "kagenti_operator."


def attributes(obj: Any) -> dict[str, Any]:
    names = {name for cls in type(obj).__mro__ for name in getattr(cls, "__slots__", ())}
    slots = {name: getattr(obj, name, None) for name in names if not name.startswith("__")}
    return slots | getattr(obj, "__dict__", {})


def count_entries() -> dict[str, int]:
    """Entries by class and attribute, over all objects of the operator's own classes."""
    entries: Counter[str] = Counter()
    # The decoded objects of the API are hidden from the collector; the stores that hold them are not.
    for obj in gc.get_objects():
        # Of some built-in types it is no string.
        if not str(type(obj).__module__).startswith(PACKAGE):
            continue
        for name, value in attributes(obj).items():
            if type(value) in COLLECTIONS:
                entries[f"{type(obj).__name__}.{name}"] += len(value)
    return dict(entries)


def count_tasks() -> dict[str, int]:
    """Tasks by name; by what they run where nobody gave them one."""
    return Counter(map(_describe, asyncio.all_tasks()))


def _describe(task: asyncio.Task[Any]) -> str:
    name = task.get_name()
    return getattr(task.get_coro(), "__qualname__", name) if name.startswith("Task-") else name


def main() -> int:
    folder, counts, profile, *arguments = sys.argv[1:]
    defaults = credentials.load_connection.__kwdefaults__
    assert defaults is not None
    defaults["service_account"] = Path(folder)

    def report(*_: object) -> None:
        gc.collect()
        held = {"tasks": count_tasks(), "entries": count_entries()}
        fresh = Path(f"{counts}.new")
        fresh.write_text(json.dumps(held))
        fresh.rename(counts)

    signal.signal(signal.SIGUSR1, report)
    if profile == "-":
        return operator_main(arguments)
    with cProfile.Profile() as profiler:
        status = operator_main(arguments)
    profiler.dump_stats(profile)
    return status


if __name__ == "__main__":
    sys.exit(main())
