"""The operator is killed after each of its writes once, as it is carried out and before it knows of it."""

from dataclasses import replace

import pytest

from tests.support.simulation.actions import Action
from tests.support.simulation.faults import CRASH_AFTER_WRITE, Fault
from tests.support.simulation.plan import Plan
from tests.support.simulation.simulate import find_violations, undisturbed

PLAN = Plan(
    actions=(
        Action(at=0.0, do="make agent", namespace="team1", name="weather"),
        Action(at=0.0, do="make agent", namespace="team2", name="tickets", kind="StatefulSet"),
        Action(at=40.0, do="change account", namespace="team1", name="weather", value="runner"),
        Action(at=50.0, do="opt out", namespace="team2", name="tickets", kind="StatefulSet"),
        Action(at=60.0, do="delete agent", namespace="team1", name="weather"),
    ),
)
# As many as there are, Events among them; more than there are does no harm.
WRITES = 40


def test_the_operator_makes_fewer_writes_than_it_is_killed_after() -> None:
    assert 15 < undisturbed(PLAN).writes < WRITES


@pytest.mark.parametrize("number", range(1, WRITES + 1))
def test_a_crash_after_any_write_leaves_nothing_that_a_restart_does_not_mend(number: int) -> None:
    crash = Fault(at=0.0, what=CRASH_AFTER_WRITE, value=number)
    assert not find_violations(replace(PLAN, faults=(crash,)))
