"""When MLflow counts as gone for good."""

import pytest

from kagenti_operator.controllers.mlflow.absence import GONE_SECONDS, Absence
from kagenti_operator.runtime.observable import Observable
from tests.support.virtual_time import skip

pytestmark = pytest.mark.virtual_time


@pytest.fixture
def gone() -> Observable[bool]:
    return Observable(False)


async def test_an_mlflow_without_a_cr_is_gone_after_ten_minutes(gone: Observable[bool]) -> None:
    absence = Absence(gone)
    assert absence.observe(present=True) is None
    assert absence.observe(present=False) == GONE_SECONDS == 600
    skip(GONE_SECONDS - 1)
    assert absence.observe(present=False) == 1
    assert not gone.value
    skip(1)
    assert absence.observe(present=False) is None
    assert gone.value
    absence.observe(present=True)
    assert not gone.value


async def test_one_that_comes_in_between_begins_the_ten_minutes_anew(gone: Observable[bool]) -> None:
    absence = Absence(gone)
    for _ in range(10):
        absence.observe(present=False)
        skip(GONE_SECONDS - 1)
        absence.observe(present=True)
    assert absence.observe(present=False) == GONE_SECONDS
    assert not gone.value


async def test_an_operator_that_is_started_meanwhile_waits_and_not_for_ever(gone: Observable[bool]) -> None:
    Absence(Observable(False)).observe(present=False)
    skip(GONE_SECONDS - 1)
    restarted = Absence(gone)
    assert restarted.observe(present=False) == GONE_SECONDS
    skip(GONE_SECONDS)
    restarted.observe(present=False)
    assert gone.value
