"""A short form of `make soak`: agents come and go, and nothing of them is left in the operator."""

import sys
from pathlib import Path

from benchmarks.soak import run_soak
from benchmarks.testbed import open_testbed

# Twice what resident memory moves by itself; what leaks per agent would show in the counts first.
MEMORY_MARGIN_MIB = 16.0


async def test_nothing_is_left_of_agents_that_came_and_went(tmp_path: Path) -> None:
    async with open_testbed(tmp_path, Path(sys.executable)) as bed:
        soak = await run_soak(bed, rounds=6, agents=100, namespaces=20)
    assert soak.events == 1200
    assert soak.after.growth_since(soak.before) == {}
    assert soak.after.resident_mib < soak.before.resident_mib + MEMORY_MARGIN_MIB
    # Each round has waited for every agent's environment; what is held of it is really counted.
    assert soak.after.entries["EventRecorder._series"] > 0
