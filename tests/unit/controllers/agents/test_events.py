"""What the Events on agents' workloads say."""

import pytest

from kagenti_operator.contract import KAGENTI
from kagenti_operator.controllers.agents.events import (
    describe_configured,
    report_denied,
    report_failure,
    report_kept,
    report_reverted,
    report_unknown_inject,
)
from kagenti_operator.controllers.agents.injection import Injection
from kagenti_operator.controllers.agents.keys import KINDS, AgentKey
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.mlflow.errors import MLflowError

KEY = AgentKey("Deployment", "team1", "weather")
INJECTION = Injection(
    tracking_uri="https://mlflow", experiment_id="7", experiment_name="renamed", workspace="team1"
)


def test_a_denied_experiment_is_named_with_its_workspace_and_mlflows_words() -> None:
    (report,) = report_denied(KEY, MLflowError(403, "PERMISSION_DENIED", "Permission denied."))
    assert report.reason == "ExperimentNotAvailable"
    assert report.message == (
        "Experiment 'weather' in workspace 'team1' could not be made or found: Permission denied."
    )


def test_kept_variables_are_listed_with_what_does_not_go_with_them() -> None:
    report = report_kept(("agent/MLFLOW_EXPERIMENT_NAME",), ("agent/MLFLOW_EXPERIMENT_ID",))
    assert report.reason == "MLflowVariablesKept"
    assert report.message.startswith(
        "agent/MLFLOW_EXPERIMENT_NAME set by the workload itself win over the operator's values; "
        "agent/MLFLOW_EXPERIMENT_ID would not go with them and are left out. Remove them"
    )


def test_where_all_others_go_with_the_kept_variables_nothing_is_left_out() -> None:
    assert "left out" not in report_kept(("agent/MLFLOW_TRACKING_AUTH",), ()).message


def test_an_opt_out_that_is_not_understood_is_named_with_the_words_that_are() -> None:
    report = report_unknown_inject(KAGENTI, ("later",))
    assert report.reason == "MLflowInjectNotUnderstood"
    assert "mlflow.kagenti.io/inject is 'later', which is not understood" in report.message
    assert "one of disabled, false, off, no;" in report.message
    assert "enabled or true" in report.message
    assert len(report_unknown_inject(KAGENTI, ("x" * 5000,) * 2).message) < 500


def test_a_workload_that_is_reverted_each_time_comes_with_two_ways_out() -> None:
    report = report_reverted(KAGENTI)
    assert report.reason == "MLflowConfigurationUndone"
    assert "Exclude these fields there" in report.message
    assert 'mlflow.kagenti.io/inject: "disabled"' in report.message


def test_a_refused_write_is_reported_with_what_follows_of_it() -> None:
    error = ApiError("apply Role a/b", status=403, reason="Forbidden", message="no")
    (report,) = report_failure("MLflowNotGranted", "Its pods are not granted access", error)
    assert report.reason == "MLflowNotGranted"
    assert report.message.startswith("Its pods are not granted access: apply Role a/b: 403 Forbidden: no. ")


def test_a_refusal_that_passes_by_itself_is_not_reported() -> None:
    assert report_failure("Any", "So", ApiError("apply Role a/b", status=409, reason="Conflict")) == ()


@pytest.mark.parametrize("kind", KINDS)
def test_who_is_configured_learns_where_traces_go_and_whether_the_pod_has_to_be_restarted(kind: str) -> None:
    text = describe_configured(kind, INJECTION, running=True, collectors_workspace=None)
    assert text.startswith("Traces and runs go to experiment 'renamed' (7) of workspace 'team1'.")
    later = describe_configured(kind, INJECTION, running=False, collectors_workspace=None)
    assert later.startswith("Traces and runs of pods that start from now on go to experiment 'renamed' (7)")
    assert ("suspend and resume the Sandbox." in text) is (kind == "Sandbox")


def test_who_labels_an_agent_is_pointed_to_what_concerns_servers_that_code_names() -> None:
    text = describe_configured("Deployment", INJECTION, running=True, collectors_workspace=None)
    assert text.endswith(
        "An agent whose code names another server has to opt out: see 'Tokens' in docs/security.md."
    )


@pytest.mark.parametrize(("workspace", "named"), [("platform", True), ("team1", False), (None, False)])
def test_who_sends_through_the_collector_learns_whose_workspace_that_is(
    workspace: str | None, named: bool
) -> None:
    text = describe_configured("Deployment", INJECTION, running=True, collectors_workspace=workspace)
    sentence = "Spans that go through the OpenTelemetry Collector instead are in workspace 'platform', for"
    assert (sentence in text) is named


def test_every_report_is_a_warning_that_ends_without_another_event() -> None:
    reports = (
        *report_denied(KEY, MLflowError(403, "X", "no")),
        report_kept(("a/B",), ()),
        report_reverted(KAGENTI),
        report_unknown_inject(KAGENTI, ("later",)),
    )
    assert {(report.type, report.over, report.log) for report in reports} == {("Warning", "", False)}
