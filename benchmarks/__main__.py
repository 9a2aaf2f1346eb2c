"""Measures the operator and writes what was found into docs/performance.md.

Without names everything but the soak is measured. What is not measured keeps its figures.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.admission import measure_admission
from benchmarks.agents import measure_agents
from benchmarks.fleet import Size
from benchmarks.fleets import measure_configured, measure_fleet
from benchmarks.labels import measure_labels
from benchmarks.large_fleet import measure_large_fleet
from benchmarks.machine import describe
from benchmarks.progress import say
from benchmarks.soak import measure_soak
from benchmarks.subject import run_environment
from benchmarks.troubles import measure_troubles

SMALL, MIDDLE, LARGE = Size(200, 1), Size(1000, 5), Size(1000, 10)
HUGE = Size(4000, 25)

type Measure = Callable[[Path, Path, Path | None], Coroutine[Any, Any, dict[str, Any]]]

MEASUREMENTS: Mapping[str, Measure] = {
    "200x1": lambda python, folder, profile: measure_fleet(python, folder, SMALL, profile=profile),
    "1000x5": lambda python, folder, profile: measure_fleet(python, folder, MIDDLE, profile=profile),
    "1000x10": lambda python, folder, profile: measure_fleet(
        python, folder, LARGE, profile=profile, bare=True
    ),
    "configured": lambda python, folder, profile: measure_configured(python, folder, LARGE, profile=profile),
    "100000-mock": lambda python, folder, profile: measure_large_fleet(python, folder, HUGE, profile=profile),
    "agents": lambda python, folder, profile: measure_agents(python, folder, profile=profile),
    "admission": lambda python, folder, profile: measure_admission(python, folder, profile=profile),
    "labels": lambda _, folder, __: measure_labels(folder),
    "troubles": lambda python, folder, profile: measure_troubles(python, folder, LARGE, profile=profile),
    "soak": lambda python, folder, profile: measure_soak(python, folder, profile=profile),
}


def main() -> int:
    description, _, usage = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="benchmarks",
        description=description,
        epilog=usage,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASUREMENTS))
    parser.add_argument("--profile", type=Path, help="profile the operator, into this file for pstats")
    args = parser.parse_args()
    names: list[str] = args.names or [name for name in MEASUREMENTS if name != "soak"]
    if unknown := sorted(set(names) - set(MEASUREMENTS)):
        parser.error(f"{', '.join(unknown)}: choose from {', '.join(MEASUREMENTS)}")
    python = run_environment()
    for number, name in enumerate(names, 1):
        say(f"{number} of {len(names)}: {name}")
        with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
            found = asyncio.run(MEASUREMENTS[name](python, Path(folder), args.profile))
        print(json.dumps(found, indent=1), flush=True)
        if args.profile is None:
            # At once: what was measured is not lost when a later measurement fails.
            report.keep(describe(), name, found)
            report.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
