"""What the MLflow operator's stand-in makes of a CR: golden files, and the status."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from kagenti_devcluster.standins.mlflow_server import build_objects, build_status
from kagenti_devcluster.standins.resources import MLflowInstance, Server

CASES = Path(__file__).parent / "cases"
CRS = sorted(CASES.glob("*.cr.yaml"))
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def read_cr(path: Path) -> MLflowInstance:
    return msgspec.convert(yaml.safe_load(path.read_text()), MLflowInstance)


def golden_of(cr: Path) -> Path:
    return cr.with_name(cr.name.replace(".cr.", ".golden."))


@pytest.mark.parametrize("path", CRS, ids=lambda path: path.name)
def test_makes_as_reviewed(path: Path, update_golden: bool) -> None:
    text = yaml.safe_dump_all(build_objects(read_cr(path)), sort_keys=False, width=110)
    if update_golden:
        golden_of(path).write_text(text)
    assert text == golden_of(path).read_text()


def test_every_golden_file_has_its_cr() -> None:
    assert set(CASES.glob("*.golden.yaml")) == {golden_of(path) for path in CRS}


def server(*, ready: int, replicas: int = 1, generation: int = 2, observed: int = 2) -> Server:
    raw: dict[str, Any] = {
        "metadata": {"name": "mlflow", "generation": generation},
        "spec": {"replicas": replicas},
        "status": {"observedGeneration": observed, "readyReplicas": ready},
    }
    return msgspec.convert(raw, Server)


def cr(**status: Any) -> MLflowInstance:
    return msgspec.convert(
        {"metadata": {"name": "mlflow", "generation": 4}, "status": status}, MLflowInstance
    )


def available(status: dict[str, Any]) -> tuple[str, str]:
    found = next(c for c in status["conditions"] if c["type"] == "Available")
    return found["status"], found["message"]


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (None, ("False", "MLflow deployment not ready: 0/1 replicas ready")),
        (server(ready=0), ("False", "MLflow deployment not ready: 0/1 replicas ready")),
        (server(ready=1), ("True", "MLflow deployment is ready and available")),
        (server(ready=1, replicas=2), ("False", "MLflow deployment not ready: 1/2 replicas ready")),
        (server(ready=1, observed=1), ("False", "MLflow deployment not ready: 0/1 replicas ready")),
        (server(ready=0, replicas=0), ("False", "MLflow deployment scaled to zero")),
    ],
)
def test_available_says_whether_the_deployment_is(found: Server | None, wanted: tuple[str, str]) -> None:
    assert available(build_status(cr(), found, now=NOW)) == wanted


def test_the_url_stays_unset_without_a_gateway() -> None:
    status = build_status(cr(), server(ready=1), now=NOW)
    assert status["url"] is None
    assert status["address"]["url"] == "https://mlflow.redhat-ods-applications.svc:8443"
    assert (
        build_status(cr(), None, now=NOW, gateway_url="https://gateway/mlflow")["url"]
        == "https://gateway/mlflow"
    )


def test_a_condition_remembers_since_when_it_holds() -> None:
    first = build_status(cr(), server(ready=1), now=NOW)
    later = build_status(cr(**first), server(ready=1), now=datetime(2027, 1, 1, tzinfo=UTC))
    assert later == first
    down = build_status(cr(**first), server(ready=0), now=datetime(2027, 1, 1, tzinfo=UTC))
    assert down["conditions"][0]["lastTransitionTime"] == "2027-01-01T00:00:00Z"
