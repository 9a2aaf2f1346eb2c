from dataclasses import replace

import msgspec

from kagenti_operator.controllers.collector.destination import MLflowView, choose_destination
from kagenti_operator.controllers.collector.experiment_record import Resolved
from kagenti_operator.controllers.mlflow.traces_url import TracesURL
from kagenti_operator.kube.objects.models import MLflow
from kagenti_operator.mlflow.client import Experiment
from kagenti_operator.otelcol.model import MLflowDestination

ADDRESS = "https://mlflow.redhat-ods-applications.svc:8443"
TRACES = f"{ADDRESS}/v1/traces"
RESOLVED = Resolved(ADDRESS, "team1", Experiment(id="3", name="kagenti-traces"))
COMPLETE = MLflowDestination(traces_endpoint=TRACES, workspace="team1", experiment_id="3")
EARLIER = MLflowDestination(traces_endpoint="https://old/v1/traces", workspace="team1", experiment_id="2")


def mlflow(*, available: bool = True) -> MLflow:
    condition = {"type": "Available", "status": "True" if available else "False"}
    status = {"conditions": [condition], "address": {"url": ADDRESS}}
    return msgspec.convert({"metadata": {"name": "mlflow"}, "status": status}, MLflow)


VIEW = MLflowView(
    cr=mlflow(),
    by_kubernetes=True,
    workspace="team1",
    resolved=RESOLVED,
    traces=TracesURL(ADDRESS, TRACES),
    granted=True,
    last_known=None,
)


def test_everything_known_is_the_destination() -> None:
    assert choose_destination(VIEW) == COMPLETE


def test_no_cr_is_no_destination_whatever_was_known() -> None:
    assert choose_destination(replace(VIEW, cr=None, last_known=EARLIER)) is None


def test_an_unavailable_mlflow_keeps_the_last_known_destination() -> None:
    view = replace(VIEW, cr=mlflow(available=False), last_known=EARLIER)
    assert choose_destination(view) == EARLIER
    assert choose_destination(replace(view, last_known=None)) is None


def test_no_experiment_id_is_ever_made_up() -> None:
    assert choose_destination(replace(VIEW, resolved=None)) is None
    assert choose_destination(replace(VIEW, resolved=None, last_known=EARLIER)) == EARLIER


def test_an_experiment_of_another_server_or_workspace_does_not_count() -> None:
    elsewhere = Resolved("https://elsewhere", "team1", RESOLVED.experiment)
    assert choose_destination(replace(VIEW, resolved=elsewhere, last_known=EARLIER)) == EARLIER
    other = Resolved(ADDRESS, "team2", RESOLVED.experiment)
    assert choose_destination(replace(VIEW, resolved=other)) is None


def test_access_comes_before_the_configuration_that_needs_it() -> None:
    assert choose_destination(replace(VIEW, granted=False)) is None
    assert choose_destination(replace(VIEW, granted=False, last_known=EARLIER)) == EARLIER


def test_without_a_workspace_there_are_no_headers() -> None:
    assert choose_destination(replace(VIEW, workspace=None)) == MLflowDestination(traces_endpoint=TRACES)


def test_for_an_mlflow_that_authorizes_otherwise_the_endpoint_is_enough() -> None:
    view = replace(VIEW, by_kubernetes=False, resolved=None)
    assert choose_destination(view) == MLflowDestination(traces_endpoint=TRACES)


def test_a_path_that_is_not_known_for_this_address_changes_nothing() -> None:
    for traces in (None, TracesURL("https://elsewhere", "https://elsewhere/v1/traces")):
        assert choose_destination(replace(VIEW, traces=traces)) is None
        assert choose_destination(replace(VIEW, traces=traces, last_known=EARLIER)) == EARLIER


def test_the_path_that_was_found_is_taken() -> None:
    below = TracesURL(ADDRESS, f"{ADDRESS}/mlflow/v1/traces")
    found = choose_destination(replace(VIEW, traces=below))
    assert found is not None
    assert found.traces_endpoint == f"{ADDRESS}/mlflow/v1/traces"
