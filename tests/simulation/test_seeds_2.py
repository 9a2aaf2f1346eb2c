"""A third of the seeds that are played with all tests: several files, because workers share by file."""

import pytest

from tests.simulation.seeds import assert_all_hold
from tests.support.simulation.generate import SCHEDULES_PER_SCENARIO


@pytest.mark.parametrize("first", range(204, 300, SCHEDULES_PER_SCENARIO))
def test_whatever_goes_wrong_the_cluster_comes_to_the_same_end(first: int) -> None:
    assert_all_hold(first, first + SCHEDULES_PER_SCENARIO)
