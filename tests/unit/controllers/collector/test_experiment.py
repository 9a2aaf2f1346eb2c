"""The collector's experiment, asked of a server that misbehaves as the test says."""

import msgspec
import structlog

from kagenti_operator.contract import MLFLOW_NAMESPACE
from kagenti_operator.controllers.collector.experiment import (
    REFUSED_SECONDS,
    ExperimentReconciler,
    Resolved,
)
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.objects.models import EndpointSlice, MLflow
from kagenti_operator.mlflow.client import Experiment
from kagenti_operator.runtime.observable import Observable
from tests.support.misbehaving_server import Answer, serving
from tests.unit.controllers.dependencies import open_dependencies, put

CREATED = Answer(body={"experiment_id": "7"})
REFUSED = Answer(403, {"error": {"code": "PERMISSION_DENIED", "message": "Permission denied."}})
EXPIRED = Answer(401, {"error": {"code": "UNAUTHENTICATED", "message": "Token expired."}})


def fill(facts: MLflowFacts, address: str) -> None:
    """MLflow is available at that address, and ready."""
    status = {"conditions": [{"type": "Available", "status": "True"}], "address": {"url": address}}
    put(facts.mlflows, msgspec.convert({"metadata": {"name": "mlflow"}, "status": status}, MLflow))
    body = {
        "metadata": {"name": "mlflow-1", "namespace": MLFLOW_NAMESPACE},
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}],
    }
    put(facts.endpoints, msgspec.convert(body, EndpointSlice))


async def test_a_refusal_is_logged_once_until_it_reads_otherwise_or_has_ended() -> None:
    steps = [REFUSED, REFUSED, REFUSED, EXPIRED, EXPIRED, CREATED, EXPIRED]
    settings, resolved = Settings(mlflow_workspace="team1"), Observable[Resolved | None](None)
    async with serving(*steps) as server, open_dependencies(settings) as dependencies:
        facts = MLflowFacts(dependencies.informers)
        fill(facts, server.url)
        reconciler = ExperimentReconciler(dependencies, facts, resolved)
        with structlog.testing.capture_logs() as logs:
            waits = [await reconciler.reconcile() for _ in steps]
    assert waits.count(REFUSED_SECONDS) == 6
    # What was found before a refusal stays.
    assert resolved.value == Resolved(server.url, "team1", Experiment(id="7", name="kagenti-traces"))
    refusals = [line["error"] for line in logs if line["event"] == "MLflow experiment refused"]
    assert ["403" in refusal for refusal in refusals] == [True, False, False]
