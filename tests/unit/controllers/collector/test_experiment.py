"""The collector's experiment, asked of a server that misbehaves as the test says."""

import msgspec
import pytest
import structlog

from kagenti_operator.contract import MLFLOW_NAMESPACE
from kagenti_operator.controllers.collector.experiment import (
    REFUSED_SECONDS,
    ExperimentReconciler,
    Resolved,
    is_collectors,
)
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.objects.models import EndpointSlice, MLflow
from kagenti_operator.mlflow.client import Experiment
from kagenti_operator.runtime.observable import Observable
from tests.support.misbehaving_server import Answer, serving
from tests.unit.controllers.dependencies import open_dependencies, put

SHOWN = Answer(body={"experiment": {"experiment_id": "7", "name": "kagenti-traces", "creation_time": 1}})
CREATED = Answer(body={"experiment_id": "7"})
EXPERIMENT = Experiment(id="7", name="kagenti-traces", creation_time=1)
REFUSED = Answer(403, {"error": {"code": "PERMISSION_DENIED", "message": "Permission denied."}})
TAKEN = Answer(400, {"error_code": "RESOURCE_ALREADY_EXISTS", "message": "taken"})
EXPIRED = Answer(401, {"error": {"code": "UNAUTHENTICATED", "message": "Token expired."}})


ABSENT = Answer(
    404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Workspace 'team1' not found in the cluster."}
)


def fill(facts: MLflowFacts, address: str, **spec: object) -> None:
    """MLflow is available at that address, and ready."""
    status = {"conditions": [{"type": "Available", "status": "True"}], "address": {"url": address}}
    put(
        facts.mlflows,
        msgspec.convert({"metadata": {"name": "mlflow"}, "spec": spec, "status": status}, MLflow),
    )
    body = {
        "metadata": {"name": "mlflow-1", "namespace": MLFLOW_NAMESPACE},
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}],
    }
    put(facts.endpoints, msgspec.convert(body, EndpointSlice))


async def test_a_refusal_is_logged_once_until_it_reads_otherwise_or_has_ended() -> None:
    steps = [REFUSED, REFUSED, REFUSED, EXPIRED, EXPIRED, CREATED, SHOWN, EXPIRED]
    settings, resolved = Settings(mlflow_workspace="team1"), Observable[Resolved | None](None)
    async with serving(*steps) as server, open_dependencies(settings) as dependencies:
        facts = MLflowFacts(dependencies.informers)
        fill(facts, server.url)
        reconciler = ExperimentReconciler(dependencies, facts, resolved)
        with structlog.testing.capture_logs() as logs:
            waits = [await reconciler.reconcile() for _ in steps[1:]]
    assert waits.count(REFUSED_SECONDS) == 6
    # What was found before a refusal stays.
    assert resolved.value == Resolved(server.url, "team1", EXPERIMENT)
    refusals = [line["error"] for line in logs if line["event"] == "MLflow experiment refused"]
    assert ["403" in refusal for refusal in refusals] == [True, False, False]


def found(name: str, *, creation_time: int = 1, stage: str = "active") -> Answer:
    experiment = {
        "experiment_id": "7",
        "name": name,
        "creation_time": creation_time,
        "lifecycle_stage": stage,
    }
    return Answer(body={"experiment": experiment})


@pytest.mark.parametrize(
    ("steps", "expected", "calls"),
    [
        ([found("renamed")], ("7", "renamed", 1), ["get"]),
        ([found("renamed", stage="deleted"), Answer()], ("7", "renamed", 1), ["get", "restore"]),
        # In another database that id is a stranger's, or by chance the one of the same name.
        (
            [
                found("somebodys", creation_time=2),
                Answer(body={"experiment_id": "9"}),
                Answer(
                    body={"experiment": {"experiment_id": "9", "name": "kagenti-traces", "creation_time": 3}}
                ),
            ],
            ("9", "kagenti-traces", 3),
            ["get", "create", "get"],
        ),
        (
            [found("kagenti-traces", creation_time=2), TAKEN, found("kagenti-traces", creation_time=2)],
            ("7", "kagenti-traces", 2),
            ["get", "create", "get-by-name"],
        ),
    ],
    ids=["renamed", "deleted", "a stranger's", "the same id"],
)
async def test_the_experiment_is_followed_by_id_and_creation_time(
    steps: list[Answer], expected: tuple[str, str, int], calls: list[str]
) -> None:
    settings, resolved = Settings(mlflow_workspace="team1"), Observable[Resolved | None](None)
    async with serving(CREATED, SHOWN, *steps) as server, open_dependencies(settings) as dependencies:
        facts = MLflowFacts(dependencies.informers)
        fill(facts, server.url)
        reconciler = ExperimentReconciler(dependencies, facts, resolved)
        await reconciler.reconcile()
        await reconciler.reconcile()
        assert server.calls == ["create", "get", *calls]
    assert resolved.value is not None
    experiment = resolved.value.experiment
    assert (experiment.id, experiment.name, experiment.creation_time) == expected
    assert is_collectors(resolved, "team1", experiment)
    assert not is_collectors(resolved, "team2", experiment)


async def test_a_namespace_that_is_no_workspace_by_its_labels_is_told_the_selector() -> None:
    settings, resolved = Settings(mlflow_workspace="team1"), Observable[Resolved | None](None)
    async with serving(ABSENT) as server, open_dependencies(settings) as dependencies:
        facts = MLflowFacts(dependencies.informers)
        fill(facts, server.url, workspaceLabelSelector={"matchLabels": {"mlflow": "true"}})
        reconciler = ExperimentReconciler(dependencies, facts, resolved)
        with structlog.testing.capture_logs() as logs:
            await reconciler.reconcile()
    (refused,) = [line["error"] for line in logs if line["event"] == "MLflow experiment refused"]
    assert "'mlflow=true' are workspaces (spec.workspaceLabelSelector of MLflow mlflow)" in refused
