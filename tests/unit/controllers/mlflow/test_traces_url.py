"""Where spans go, asked of a server that answers as the test says."""

import msgspec
import pytest

from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.mlflow.traces_url import (
    AGAIN_SECONDS,
    TracesURL,
    TracesURLReconciler,
    find_traces_url,
)
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.objects.models import MLflow
from kagenti_operator.runtime.observable import Observable
from tests.support.misbehaving_server import Answer, HangUp, Step, serving
from tests.unit.controllers.dependencies import open_dependencies, put

NOT_FOUND, REFUSED = Answer(404), Answer(401)


def cr(address: str | None, version: str | None = None, url: str | None = None) -> MLflow:
    status = {
        "conditions": [{"type": "Available", "status": "True"}],
        "address": {"url": address} if address else None,
        "version": version,
        "url": url,
    }
    return msgspec.convert({"metadata": {"name": "mlflow"}, "status": status}, MLflow)


@pytest.mark.parametrize(
    ("steps", "version", "expected", "asked", "again"),
    [
        ((REFUSED,), "3.14.0", "/mlflow/v1/traces", 1, None),
        ((NOT_FOUND, Answer(422)), "3.17.0", "/v1/traces", 2, None),
        ((Answer(503),), "3.14.0", "/v1/traces", 1, AGAIN_SECONDS),
        ((Answer(503),), None, "/mlflow/v1/traces", 1, AGAIN_SECONDS),
        ((HangUp(),), "3.17.0", "/mlflow/v1/traces", 1, AGAIN_SECONDS),
        ((NOT_FOUND, NOT_FOUND), "3.17.0", "/mlflow/v1/traces", 2, AGAIN_SECONDS),
    ],
)
async def test_the_answer_decides_else_the_version(
    steps: tuple[Step, ...], version: str | None, expected: str, asked: int, again: float | None
) -> None:
    traces = Observable[TracesURL | None](None)
    async with serving(*steps) as server, open_dependencies(Settings()) as dependencies:
        facts = MLflowFacts(dependencies.informers)
        address = f"{server.url}/mlflow"
        put(facts.mlflows, cr(address, version))
        assert await TracesURLReconciler(dependencies, facts, traces).reconcile() == again
        assert traces.value == TracesURL(address, f"{server.url}{expected}")
        assert len(server.asked) >= asked
        assert {call.headers["Authorization"] for call in server.asked} == {"Bearer none"}
        assert {call.method for call in server.asked} == {"POST"}


async def test_each_server_is_asked_once_and_again_after_an_upgrade() -> None:
    traces = Observable[TracesURL | None](None)
    steps = (NOT_FOUND, REFUSED, REFUSED)
    async with serving(*steps) as server, open_dependencies(Settings()) as dependencies:
        facts, address = MLflowFacts(dependencies.informers), f"{server.url}/mlflow"
        reconciler = TracesURLReconciler(dependencies, facts, traces)
        put(facts.mlflows, cr(address, "3.14.0"))
        for _ in range(3):
            await reconciler.reconcile()
        assert traces.value == TracesURL(address, f"{server.url}/v1/traces")
        assert len(server.asked) == 2
        put(facts.mlflows, cr(address, "3.17.0"))
        await reconciler.reconcile()
        assert traces.value == TracesURL(address, f"{server.url}/mlflow/v1/traces")
        assert len(server.asked) == 3


async def test_what_was_found_stays_while_the_server_does_not_answer() -> None:
    address = "https://nobody.invalid/mlflow"
    found = TracesURL(address, "https://nobody.invalid/v1/traces")
    traces = Observable[TracesURL | None](found)
    async with open_dependencies(Settings()) as dependencies:
        facts = MLflowFacts(dependencies.informers)
        put(facts.mlflows, cr(address, "3.17.0"))
        assert await TracesURLReconciler(dependencies, facts, traces).reconcile() == AGAIN_SECONDS
    assert traces.value == found


def test_the_gateway_counts_only_without_an_address() -> None:
    gateway = "https://gateway.example.com/mlflow"
    assert find_traces_url(cr(None, url=gateway), None) == f"{gateway}/v1/traces"
    assert find_traces_url(cr("https://a.b.svc/mlflow", url=gateway), None) is None
