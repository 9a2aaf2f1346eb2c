"""`make simulate`: plays many seeds, and prints what fails as tests."""

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tests.support.simulation.generate import SCHEDULES_PER_SCENARIO, generate
from tests.support.simulation.shrink import print_test, shrink
from tests.support.simulation.simulate import find_violations


def run_seeds(seeds: range) -> list[str]:
    """Play these; return a test for each that fails."""
    found: list[str] = []
    for seed in seeds:
        plan = generate(seed)
        if violations := find_violations(plan):
            smallest = shrink(plan, violations[0].what, find_violations)
            found.append(print_test(smallest, seed, find_violations(smallest)))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    first, last = args.first, args.first + args.seeds
    pieces = [
        range(start, min(start + SCHEDULES_PER_SCENARIO, last))
        for start in range(first, last, SCHEDULES_PER_SCENARIO)
    ]
    began, failed = time.monotonic(), 0
    with ProcessPoolExecutor(args.processes) as pool:
        for piece, found in zip(pieces, pool.map(run_seeds, pieces), strict=True):
            failed += len(found)
            for text in found:
                print(text, flush=True)
            if sys.stderr.isatty():
                print(f"\r{piece.stop - first} of {args.seeds}", end="", file=sys.stderr, flush=True)
    took = time.monotonic() - began
    print(f"{args.seeds} seeds from {first} on in {took:.0f} s: {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
