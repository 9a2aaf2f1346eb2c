"""The collector's experiment, asked of a server that misbehaves as told."""

import random

import msgspec
import structlog
from kagenti_operator.controllers.cluster import Cluster

from kagenti_operator.controllers.collector.experiment import REFUSED_SECONDS, ExperimentController
from kagenti_operator.controllers.settings import MLFLOW_NAMESPACE, Settings
from kagenti_operator.kube.auth.connection import Connection
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.objects.models import EndpointSlice, MLflow
from kagenti_operator.mlflow.client import MLflowClient
from kagenti_operator.runtime.telemetry.events import EventRecorder
from tests.support.misbehaving_server import Answer, serving

CREATED = Answer(body={"experiment_id": "7"})
REFUSED = Answer(403, {"error": {"code": "PERMISSION_DENIED", "message": "Permission denied."}})
EXPIRED = Answer(401, {"error": {"code": "UNAUTHENTICATED", "message": "Token expired."}})


def fill(cluster: Cluster, address: str) -> None:
    """MLflow is available at that address, and ready."""
    status = {"conditions": [{"type": "Available", "status": "True"}], "address": {"url": address}}
    cr = msgspec.convert({"metadata": {"name": "mlflow"}, "status": status}, MLflow)
    cluster.mlflows.store.put(("", "mlflow"), cr)
    body = {
        "metadata": {"name": "mlflow-1", "namespace": MLFLOW_NAMESPACE},
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}],
    }
    endpoints = msgspec.convert(body, EndpointSlice)
    cluster.mlflow_endpoints.store.put((MLFLOW_NAMESPACE, "mlflow-1"), endpoints)


async def test_a_refusal_is_logged_once_until_it_reads_otherwise_or_has_ended() -> None:
    rng = random.Random(7)
    client = KubeClient(Connection("http://unused.example"))
    mlflow = MLflowClient(token=lambda: "token", rng=rng)
    cluster = Cluster(client, Settings(mlflow_workspace="team1"), rng=rng)
    events = EventRecorder(client, instance="tests", rng=rng)
    logic = ExperimentController(cluster, mlflow, events, rng=rng, on_change=lambda: None)
    steps = [REFUSED, REFUSED, REFUSED, EXPIRED, EXPIRED, CREATED, EXPIRED]
    async with serving(*steps) as server, client:
        fill(cluster, server.url)
        with structlog.testing.capture_logs() as logs:
            waits = [await logic.reconcile(logic.KEY) for _ in steps]
    await mlflow.close()
    assert waits.count(REFUSED_SECONDS) == 6
    refusals = [line["error"] for line in logs if line["event"] == "MLflow experiment refused"]
    assert ["403" in refusal for refusal in refusals] == [True, False, False]
