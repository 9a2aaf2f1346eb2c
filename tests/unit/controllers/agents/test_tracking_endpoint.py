"""Which address agents are told, as MLflow's status comes, goes and changes."""

from typing import Any

import msgspec
import pytest

from kagenti_operator.controllers.agents.experiments import Server
from kagenti_operator.controllers.agents.tracking_endpoint import (
    GATEWAY_GONE_SECONDS,
    GATEWAY_SECONDS,
    SETTLE_SECONDS,
    AgentsServer,
)
from kagenti_operator.kube.objects.models import MLflow
from tests.support.virtual_time import skip

pytestmark = pytest.mark.virtual_time

ADDRESS = "https://mlflow.svc:8443"
GATEWAY = "https://gateway.example/mlflow"


def mlflow(
    address: str | None = ADDRESS,
    url: str | None = None,
    *,
    available: bool = True,
    since: str | None = None,
    uid: str = "u1",
) -> MLflow:
    condition = {"type": "Available", "status": str(available), "lastTransitionTime": since}
    status: dict[str, Any] = {"conditions": [condition], "address": {"url": address}, "url": url}
    return msgspec.convert({"metadata": {"name": "mlflow", "uid": uid}, "status": status}, MLflow)


@pytest.fixture
def server() -> AgentsServer:
    return AgentsServer()


def told(server: AgentsServer) -> str | None:
    return server.current.tracking_uri if server.current else None


async def test_a_gateway_is_told_at_once_and_an_absence_is_not_followed(server: AgentsServer) -> None:
    assert server.observe(None) is None
    assert server.current is None
    assert server.observe(mlflow(url=GATEWAY)) is None
    assert server.current == Server(GATEWAY, ADDRESS)
    server.observe(mlflow(url=GATEWAY, available=False))
    assert server.current is None
    server.observe(mlflow(url=GATEWAY))
    assert told(server) == GATEWAY


async def test_a_gateway_that_comes_a_little_later_is_the_only_one_that_agents_see(
    server: AgentsServer,
) -> None:
    assert server.observe(mlflow()) == GATEWAY_SECONDS
    assert server.current is None
    skip(GATEWAY_SECONDS - 1)
    assert server.observe(mlflow(url=GATEWAY)) is None
    assert told(server) == GATEWAY


async def test_where_no_gateway_comes_the_wait_ends(server: AgentsServer) -> None:
    server.observe(mlflow(since="2026-01-01T01:00:00Z"))
    skip(GATEWAY_SECONDS)
    assert server.observe(mlflow(since="2026-01-01T01:00:00Z")) is None
    assert told(server) == ADDRESS


async def test_an_operator_that_comes_later_does_not_wait_for_a_gateway(server: AgentsServer) -> None:
    skip(GATEWAY_SECONDS)
    assert server.observe(mlflow(since="2026-01-01T00:00:00Z")) is None
    assert told(server) == ADDRESS


async def test_another_address_is_told_when_it_has_lasted(server: AgentsServer) -> None:
    server.observe(mlflow(url=GATEWAY))
    other = mlflow(url="https://other.example")
    assert server.observe(other) == SETTLE_SECONDS
    skip(SETTLE_SECONDS - 1)
    assert server.observe(other) == 1
    assert told(server) == GATEWAY
    skip(1)
    assert server.observe(other) is None
    assert told(server) == "https://other.example"


async def test_an_address_that_flaps_is_never_told(server: AgentsServer) -> None:
    server.observe(mlflow(url=GATEWAY))
    for number in range(20):
        server.observe(mlflow(url=GATEWAY if number % 2 else "https://other.example"))
        skip(SETTLE_SECONDS - 1)
        assert told(server) == GATEWAY


async def test_a_gateway_that_only_leaves_the_status_is_kept_for_long(server: AgentsServer) -> None:
    server.observe(mlflow(url=GATEWAY))
    assert server.observe(mlflow()) == GATEWAY_GONE_SECONDS
    skip(GATEWAY_GONE_SECONDS - 1)
    assert server.observe(mlflow()) == 1
    assert server.current == Server(GATEWAY, ADDRESS)
    skip(1)
    assert server.observe(mlflow()) is None
    assert server.current == Server(ADDRESS, ADDRESS)


async def test_an_address_that_moves_with_its_gateway_gone_is_followed(server: AgentsServer) -> None:
    server.observe(mlflow(url=GATEWAY))
    moved = mlflow("https://elsewhere.svc")
    assert server.observe(moved) == SETTLE_SECONDS
    # Nobody is told of experiments there before they are told the address.
    assert server.current == Server(GATEWAY, ADDRESS)
    skip(SETTLE_SECONDS)
    server.observe(moved)
    assert server.current == Server("https://elsewhere.svc", "https://elsewhere.svc")


async def test_another_mlflow_begins_anew(server: AgentsServer) -> None:
    server.observe(mlflow(url=GATEWAY))
    server.observe(mlflow(url="https://other.example", uid="u2"))
    assert told(server) == "https://other.example"
