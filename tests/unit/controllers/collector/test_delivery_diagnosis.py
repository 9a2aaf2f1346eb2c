import pytest

from kagenti_operator.controllers.collector.delivery_diagnosis import foresee_refusal, word_reason


@pytest.mark.parametrize(
    ("workspace", "state", "bound", "has_agents", "expected"),
    [
        pytest.param("team1", "Managed", True, True, None, id="all is well"),
        pytest.param("team1", "Managed", False, True, "WorkspaceNotGranted", id="the grant is on its way"),
        pytest.param(None, "Managed", False, False, "WorkspaceNotConfigured", id="no workspace"),
        pytest.param("team1", "Managed", False, False, "WorkspaceWithoutAgents", id="the last agent left"),
        pytest.param("team1", "Managed", True, False, None, id="somebody else's grant needs no agent"),
        pytest.param("team1", "Removed", False, True, "MLflowNotManaged", id="removed, and the CR kept"),
        pytest.param("team1", "Removed", False, False, "MLflowNotManaged", id="an agent would not help"),
        pytest.param("team1", "Unmanaged", False, True, "MLflowUnmanaged", id="nothing new is granted"),
        pytest.param("team1", "Unmanaged", True, True, None, id="a grant from before works on"),
        pytest.param("team1", None, False, True, "MLflowNotManaged", id="no DataScienceCluster"),
    ],
)
def test_what_can_be_foreseen(
    workspace: str | None, state: str | None, bound: bool, has_agents: bool, expected: str | None
) -> None:
    assert foresee_refusal(workspace, state=state, bound=bound, has_agents=has_agents) == expected


def test_people_are_told_the_state_the_namespace_and_what_to_do() -> None:
    message = word_reason("MLflowNotManaged", "team1", None)
    assert message is not None
    for part in (
        "default-dsc",
        "unset",
        "namespace 'team1'",
        "403",
        "Set it to Managed",
        "delete the MLflow CR",
    ):
        assert part in message


def test_what_is_about_to_be_granted_is_not_told() -> None:
    assert word_reason("WorkspaceNotGranted", "team1", "Managed") is None
