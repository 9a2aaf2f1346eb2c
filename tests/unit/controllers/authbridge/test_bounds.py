"""What a pod's author may write without end is kept by nobody."""

from typing import Any

import pytest

from kagenti_operator.controllers.authbridge.admission import build_reference
from kagenti_operator.controllers.authbridge.agent_container import MOST_CHARACTERS, mlflow_hosts
from kagenti_operator.controllers.authbridge.workload import Workload


def pod(uri: str) -> dict[str, Any]:
    env = [{"name": "MLFLOW_TRACKING_URI", "value": uri}]
    return {"metadata": {}, "spec": {"containers": [{"name": "agent", "env": env}]}}


@pytest.mark.parametrize("uri", [f"https://mlflow/{'a' * MOST_CHARACTERS}", f"https://{'a' * 300}.svc"])
def test_an_endless_address_is_none(uri: str) -> None:
    assert mlflow_hosts(pod("https://mlflow.mlflow.svc:8443")) == ("mlflow.mlflow.svc",)
    assert mlflow_hosts(pod(uri)) == ()


@pytest.mark.parametrize(("name", "uid"), [("a" * 300, "u"), ("weather", "u" * 300)])
def test_an_event_is_about_no_endless_name(name: str, uid: str) -> None:
    assert build_reference("team1", {}, Workload("Deployment", "weather", "u")) is not None
    assert build_reference("team1", {}, Workload("Deployment", name, uid)) is None
