"""What the simulation found, as it printed it."""

from tests.support.simulation.actions import Action
from tests.support.simulation.faults import Fault
from tests.support.simulation.plan import Plan
from tests.support.simulation.simulate import find_violations


def test_a_namespace_that_is_said_not_to_exist_for_a_moment_is_granted_in_the_end() -> None:
    plan = Plan(
        dice=23,
        workspace="",
        actions=(Action(at=69.0, do="make agent", namespace="team2", name="search"),),
        faults=(Fault(at=69.0, what="refuse", seconds=1.8, share=0.5, value=404),),
    )
    assert not find_violations(plan)
