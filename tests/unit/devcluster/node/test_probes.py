"""When a probe's verdict changes."""

import pytest

from kagenti_devcluster.node.models import Probe
from kagenti_devcluster.node.probes import ProbeState


@pytest.mark.parametrize(
    ("verdict", "answers", "verdicts"),
    [
        (False, "+", [True]),
        (True, "-", [True]),
        (True, "--", [True, True]),
        (True, "---", [True, True, False]),
        (True, "--+--", [True] * 5),
        (False, "---+", [False, False, False, True]),
        (None, "--+", [None, None, True]),
        (None, "---", [None, None, False]),
    ],
)
def test_a_verdict_changes_after_enough_equal_answers(
    verdict: bool | None, answers: str, verdicts: list[bool | None]
) -> None:
    state = ProbeState(Probe(failure_threshold=3), verdict)
    assert [state.observe(answer == "+") for answer in answers] == verdicts


def test_a_success_threshold_counts_as_well() -> None:
    state = ProbeState(Probe(success_threshold=2), False)
    assert [state.observe(True) for _ in range(2)] == [False, True]
