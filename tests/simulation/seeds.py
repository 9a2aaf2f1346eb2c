"""Plays some seeds of the simulation, and prints what fails as tests."""

from tests.support.simulation.__main__ import run_seeds


def assert_all_hold(first: int, last: int) -> None:
    """Every invariant, with every seed from the first on up to the last, which is not played."""
    failed = run_seeds(range(first, last))
    assert not failed, "\n" + "\n".join(failed)
