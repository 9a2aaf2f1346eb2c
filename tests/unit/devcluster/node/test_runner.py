"""Whether and when a container is started again."""

import pytest

from kagenti_devcluster.node.runner import RestartPauses, is_restarted


def test_pauses_double_up_to_a_limit_and_start_over_after_a_long_run() -> None:
    pauses = RestartPauses()
    assert [pauses.next(0.5) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert pauses.next(61) == 1


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [("Always", 0, True), ("OnFailure", 0, False), ("OnFailure", 1, True), ("Never", 1, False)],
)
def test_the_restart_policy_decides(policy: str, code: int, again: bool) -> None:
    assert is_restarted(policy, code) is again
