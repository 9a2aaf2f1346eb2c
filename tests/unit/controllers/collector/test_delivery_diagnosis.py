import pytest

from kagenti_operator.controllers.collector.delivery_diagnosis import (
    REASONS,
    Delivery,
    foresee_refusal,
    report_delivery,
    report_encryption,
)


@pytest.mark.parametrize(
    ("workspace", "state", "bound", "expected"),
    [
        pytest.param("team1", "Managed", True, None, id="all is well"),
        pytest.param("team1", "Managed", False, "WorkspaceNotGranted", id="the grant is on its way"),
        pytest.param(None, "Managed", False, "WorkspaceNotConfigured", id="no workspace"),
        pytest.param("team1", "Removed", False, "MLflowNotManaged", id="removed, and the CR kept"),
        pytest.param("team1", "Unmanaged", False, "MLflowUnmanaged", id="nothing new is granted"),
        pytest.param("team1", "Unmanaged", True, None, id="a grant from before works on"),
        pytest.param("team1", None, False, "MLflowNotManaged", id="the DataScienceCluster says nothing"),
    ],
)
def test_what_can_be_foreseen(
    workspace: str | None, state: str | None, bound: bool, expected: str | None
) -> None:
    delivery = Delivery(workspace=workspace, cluster="mine", state=state, bound=bound)
    assert foresee_refusal(delivery) == expected


def test_the_report_names_the_state_the_namespace_and_what_to_do() -> None:
    delivery = Delivery(workspace="team1", cluster="mine", state=None, bound=False)
    (report,) = report_delivery(delivery)
    assert report.reason == "MLflowNotManaged"
    for part in (
        "DataScienceCluster mine ",
        "unset",
        "namespace 'team1'",
        "403",
        "Set it to Managed",
        "delete the MLflow CR",
    ):
        assert part in report.message


def test_the_report_advises_no_change_of_an_object_that_is_going() -> None:
    delivery = Delivery(workspace="team1", cluster="mine", going=True, state=None, bound=False)
    (report,) = report_delivery(delivery)
    assert "DataScienceCluster mine is being deleted" in report.message
    assert "Make a DataScienceCluster whose component mlflowoperator is Managed" in report.message


def test_without_a_datasciencecluster_others_may_have_granted_access() -> None:
    """MLflow as on plain Kubernetes: deleting its CR would be the worst of advice."""
    delivery = Delivery(workspace="team1", state=None, bound=False, account="telemetry")
    assert foresee_refusal(delivery) not in REASONS
    (report,) = report_delivery(delivery)
    assert report.reason == "MLflowUnmanaged"
    assert "bind ServiceAccount telemetry to ClusterRole mlflow-operator-mlflow-integration" in report.message
    assert "in namespace 'team1' by RoleBinding otel-collector-mlflow" in report.message
    assert "delete" not in report.message


@pytest.mark.parametrize("bound", [False, True])
def test_what_is_granted_or_about_to_be_is_not_reported(bound: bool) -> None:
    delivery = Delivery(workspace="team1", state="Managed", bound=bound)
    assert list(report_delivery(delivery)) == []


def test_a_token_that_may_not_be_sent_and_one_that_is_sent_in_the_clear_are_reported() -> None:
    (refused,) = report_encryption("http://mlflow:5000/v1/traces", allowed=False)
    (sent,) = report_encryption("HTTP://mlflow:5000/v1/traces", allowed=True)
    assert [refused.reason, sent.reason] == ["TokenNotSent", "TokenSentUnencrypted"]
    assert "mlflow.allowHTTP" in refused.message
    for allowed in (False, True):
        assert list(report_encryption("https://mlflow:8443/v1/traces", allowed=allowed)) == []
