"""However many keys fail, the log stays readable."""

import pytest
from structlog.testing import capture_logs

from kagenti_operator.runtime.control.failure_log import FailureLog
from tests.support.virtual_time import advance

pytestmark = pytest.mark.virtual_time

MANY = "Reconciling fails for many keys, of which not each is logged"


async def test_ten_thousand_failures_are_a_hundred_lines_and_a_sum_now_and_then() -> None:
    failures = FailureLog[int]("agents")
    with capture_logs() as logs:
        for _ in range(60):
            for key in range(10_000):
                failures.failed(key, ValueError("no answer"), retry_in=1, bug=False)
            await advance(10)
    # Ten minutes of the same for everybody.
    assert len(logs) < 1000
    sums = [line for line in logs if line["event"] == MANY]
    assert sums[0]["keys"] > 100
    assert sums[-1]["keys"] == 10_000
    assert (sums[-1]["controller"], sums[-1]["error"]) == ("agents", "ValueError: no answer")


async def test_what_works_again_is_said_as_long_as_it_is_little() -> None:
    failures = FailureLog[int]("agents")
    for key in range(10_000):
        failures.failed(key, ValueError("no answer"), retry_in=1, bug=False)
    await advance(50)
    with capture_logs() as logs:
        for key in range(10_000):
            failures.succeeded(key)
    assert [line["event"] for line in logs] == ["Reconciled after failing"] * 50
    with capture_logs() as logs:
        failures.succeeded(1)
    assert logs == []
