"""The simulation is worth something: it finds faults that are put back into the operator on purpose."""

import pytest

from tests.simulation.mutations import MUTATIONS, Mutation
from tests.support.simulation.generate import generate
from tests.support.simulation.simulate import find_violations, undisturbed

# Within so many seeds each is found.
SEEDS = 30
# What a mutation shows that is itself broken, such as by a name that has changed.
BROKEN = {"no bug", "no crash"}


def _is_found(seed: int) -> bool:
    violated = {violation.what for violation in find_violations(generate(seed))}
    assert not violated & BROKEN
    return bool(violated)


@pytest.mark.parametrize(("mutate", "first"), MUTATIONS.items(), ids=lambda it: getattr(it, "__name__", ""))
def test_a_fault_that_is_put_back_is_found(mutate: Mutation, first: int) -> None:
    undisturbed.cache_clear()
    try:
        with mutate():
            assert any(map(_is_found, range(first, first + SEEDS)))
    finally:
        # They were played with the fault.
        undisturbed.cache_clear()
