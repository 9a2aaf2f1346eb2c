"""The collector's experiment, asked of a server that misbehaves as the test says."""

import msgspec
import pytest
import structlog

from kagenti_operator.contract import MLFLOW_NAMESPACE
from kagenti_operator.controllers.collector.access_facts import AccessFacts
from kagenti_operator.controllers.collector.experiment import (
    REFUSED_SECONDS,
    ExperimentReconciler,
)
from kagenti_operator.controllers.collector.experiment_record import MOST, CollectorExperiments, Resolved
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.objects.models import LONGEST_TEXT, EndpointSlice, MLflow
from kagenti_operator.kube.objects.rbac import RoleBinding
from kagenti_operator.mlflow.client import Experiment
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
    settings = Settings(mlflow_workspace="team1")
    async with serving(*steps) as server, open_dependencies(settings) as dependencies:
        facts = MLflowFacts(dependencies.informers)
        fill(facts, server.url)
        own = CollectorExperiments(settings, AccessFacts(dependencies))
        reconciler = ExperimentReconciler(dependencies, facts, own)
        with structlog.testing.capture_logs() as logs:
            waits = [await reconciler.reconcile() for _ in steps[1:]]
    assert waits.count(REFUSED_SECONDS) == 6
    # What was found before a refusal stays.
    assert own.resolved.value == Resolved(server.url, "team1", EXPERIMENT)
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
    settings = Settings(mlflow_workspace="team1")
    async with serving(CREATED, SHOWN, *steps) as server, open_dependencies(settings) as dependencies:
        facts = MLflowFacts(dependencies.informers)
        fill(facts, server.url)
        own = CollectorExperiments(settings, AccessFacts(dependencies))
        reconciler = ExperimentReconciler(dependencies, facts, own)
        await reconciler.reconcile()
        await reconciler.reconcile()
        assert server.calls == ["create", "get", *calls]
    assert own.resolved.value is not None
    experiment = own.resolved.value.experiment
    assert (experiment.id, experiment.name, experiment.creation_time) == expected
    assert own.owns("team1", experiment)
    assert not own.owns("team2", experiment)


async def test_a_namespace_that_is_no_workspace_by_its_labels_is_told_the_selector() -> None:
    settings = Settings(mlflow_workspace="team1")
    async with serving(ABSENT) as server, open_dependencies(settings) as dependencies:
        facts = MLflowFacts(dependencies.informers)
        fill(facts, server.url, workspaceLabelSelector={"matchLabels": {"mlflow": "true"}})
        own = CollectorExperiments(settings, AccessFacts(dependencies))
        reconciler = ExperimentReconciler(dependencies, facts, own)
        with structlog.testing.capture_logs() as logs:
            await reconciler.reconcile()
    (refused,) = [line["error"] for line in logs if line["event"] == "MLflow experiment refused"]
    assert "'mlflow=true' are workspaces (spec.workspaceLabelSelector of MLflow mlflow)" in refused


# --- what outlives the operator ---------------------------------------------------------------------------


def recorded(text: str, *, manager: str = "kagenti-operator") -> RoleBinding:
    """The collector's RoleBinding of the workspace, as an operator before this one left it."""
    metadata = {
        "name": "otel-collector-mlflow",
        "namespace": "team1",
        "labels": {"app.kubernetes.io/managed-by": manager},
        "annotations": {"mlflow.kagenti.io/collector-experiments": text},
    }
    reference = {"kind": "ClusterRole", "name": "integration"}
    return msgspec.convert({"metadata": metadata, "roleRef": reference}, RoleBinding)


RECORD = '{"name":"kagenti-traces","experiments":[["7",1]]}'
RENAMED = Experiment(id="7", name="weather", creation_time=1)
NINTH = Answer(body={"experiment": {"experiment_id": "9", "name": "spans", "creation_time": 3}})


async def test_what_is_found_is_recorded_for_the_operator_after_this_one() -> None:
    settings = Settings(mlflow_workspace="team1")
    async with open_dependencies(settings) as dependencies:
        own = CollectorExperiments(settings, AccessFacts(dependencies))
        assert own.annotations("team1") is None
        own.found(Resolved("https://mlflow", "team1", EXPERIMENT), "kagenti-traces")
        assert own.annotations("team1") == {"mlflow.kagenti.io/collector-experiments": RECORD}
        assert own.annotations("team2") is None


async def test_a_renamed_experiment_stays_the_collectors_after_a_restart_and_before_mlflow_answers() -> None:
    settings = Settings(mlflow_workspace="team1")
    async with serving(found("weather")) as server, open_dependencies(settings) as dependencies:
        access, facts = AccessFacts(dependencies), MLflowFacts(dependencies.informers)
        put(access.bindings, recorded(RECORD))
        fill(facts, server.url)
        own = CollectorExperiments(settings, access)
        assert own.owns("team1", RENAMED)
        assert own.owns("team1", Experiment(id="7", name="weather"))
        assert not own.owns("team1", Experiment(id="7", name="weather", creation_time=2))
        assert not own.owns("team2", RENAMED)
        assert not own.is_known("team1")
        assert own.is_known("team2")
        await ExperimentReconciler(dependencies, facts, own).reconcile()
        assert server.calls == ["get"]
        assert own.is_known("team1")
        assert own.resolved.value == Resolved(server.url, "team1", RENAMED)


async def test_what_the_collector_had_under_another_setting_is_still_no_agents() -> None:
    settings = Settings(mlflow_workspace="team1", mlflow_experiment_name="spans")
    created = Answer(body={"experiment_id": "9"})
    async with serving(created, NINTH) as server, open_dependencies(settings) as dependencies:
        access, facts = AccessFacts(dependencies), MLflowFacts(dependencies.informers)
        put(access.bindings, recorded(RECORD))
        fill(facts, server.url)
        own = CollectorExperiments(settings, access)
        await ExperimentReconciler(dependencies, facts, own).reconcile()
        assert own.owns("team1", Experiment(id="9", name="spans", creation_time=3))
        assert own.owns("team1", RENAMED)
        text = '{"name":"spans","experiments":[["9",3],["7",1]]}'
        assert own.annotations("team1") == {"mlflow.kagenti.io/collector-experiments": text}


@pytest.mark.parametrize(
    "binding",
    [recorded("somebody's"), recorded('{"name":1}'), recorded(RECORD, manager="Helm")],
    ids=["no JSON", "another shape", "somebody else's"],
)
async def test_a_record_that_the_operator_did_not_write_says_nothing(binding: RoleBinding) -> None:
    settings = Settings(mlflow_workspace="team1")
    async with open_dependencies(settings) as dependencies:
        access = AccessFacts(dependencies)
        put(access.bindings, binding)
        own = CollectorExperiments(settings, access)
        assert own.last("team1", "kagenti-traces") is None
        assert not own.owns("team1", RENAMED)


async def test_the_record_is_never_longer_than_an_annotation_that_is_read_whole() -> None:
    settings = Settings(mlflow_workspace="team1")
    async with open_dependencies(settings) as dependencies:
        own = CollectorExperiments(settings, AccessFacts(dependencies))
        for number in range(10 * MOST):
            made = Experiment(id=f"{number:018}", name="a", creation_time=1_800_000_000_000 + number)
            own.found(Resolved("https://mlflow", "team1", made), "n" * 500)
        (text,) = (own.annotations("team1") or {}).values()
        assert len(text) <= LONGEST_TEXT
        assert f"{10 * MOST - MOST:018}" in text
