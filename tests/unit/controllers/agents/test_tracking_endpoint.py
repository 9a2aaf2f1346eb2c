"""Under which address agents reach MLflow, as MLflow's status comes, goes and changes."""

from typing import Any

import msgspec
import pytest

from kagenti_operator.contract import AgentsAddress
from kagenti_operator.controllers.agents.addresses import GatewayTrust, report_no_address
from kagenti_operator.controllers.agents.tracking_endpoint import (
    GATEWAY_GONE_SECONDS,
    GATEWAY_SECONDS,
    SETTLE_SECONDS,
    Endpoint,
    TrackingEndpoint,
)
from kagenti_operator.kube.objects.models import MLflow
from kagenti_operator.mlflow import status
from kagenti_operator.runtime.observable import Observable
from tests.support.virtual_time import skip

pytestmark = pytest.mark.virtual_time

ADDRESS = "https://mlflow.opendatahub.svc:8443"
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
    said: dict[str, Any] = {"conditions": [condition], "address": {"url": address}, "url": url}
    return msgspec.convert({"metadata": {"name": "mlflow", "uid": uid}, "status": said}, MLflow)


class Agents:
    """What agents are given as the CR is observed."""

    def __init__(self, mode: AgentsAddress = "auto") -> None:
        self._endpoint = Observable[Endpoint | None](None)
        self.is_openshift = Observable[bool | None](False)
        self.trusts: bool | None = True
        self._trust = Observable[GatewayTrust | None](None)
        self._tracking = TrackingEndpoint(mode, self._endpoint, self.is_openshift, self._trust)

    def observe(self, cr: MLflow | None, *, tried: bool = True) -> float | None:
        """Observe it; its gateway's certificate was tried by then."""
        gateway = status.gateway(cr) if cr else None
        self._trust.set(GatewayTrust(gateway, self.trusts) if gateway and tried else None)
        return self._tracking.observe(cr)

    @property
    def endpoint(self) -> Endpoint | None:
        return self._endpoint.value

    @property
    def tracking_uri(self) -> str | None:
        return self.endpoint.tracking_uri if self.endpoint else None

    def keep(self, tracking_uri: str) -> str | None:
        """What an agent is to use that has that one."""
        return self.endpoint.keeping(tracking_uri).tracking_uri if self.endpoint else None


@pytest.fixture
def agents() -> Agents:
    return Agents()


async def test_a_gateway_is_used_at_once_and_an_absence_is_not_followed(agents: Agents) -> None:
    assert agents.observe(None) is None
    assert agents.endpoint is None
    assert agents.observe(mlflow(url=GATEWAY)) is None
    assert agents.endpoint == Endpoint(GATEWAY, ADDRESS, uid="u1")
    agents.observe(mlflow(url=GATEWAY, available=False))
    assert agents.endpoint is None
    agents.observe(mlflow(url=GATEWAY))
    assert agents.tracking_uri == GATEWAY


async def test_a_gateway_that_comes_a_little_later_is_the_only_one_that_agents_see(
    agents: Agents,
) -> None:
    assert agents.observe(mlflow()) == GATEWAY_SECONDS
    assert agents.endpoint is None
    skip(GATEWAY_SECONDS - 1)
    assert agents.observe(mlflow(url=GATEWAY)) is None
    assert agents.tracking_uri == GATEWAY


async def test_where_no_gateway_comes_the_wait_ends(agents: Agents) -> None:
    agents.observe(mlflow(since="2026-01-01T01:00:00Z"))
    skip(GATEWAY_SECONDS)
    assert agents.observe(mlflow(since="2026-01-01T01:00:00Z")) == GATEWAY_GONE_SECONDS - GATEWAY_SECONDS
    assert agents.tracking_uri == ADDRESS


async def test_an_operator_that_comes_later_does_not_wait_for_a_gateway(agents: Agents) -> None:
    skip(GATEWAY_SECONDS)
    agents.observe(mlflow(since="2026-01-01T00:00:00Z"))
    assert agents.tracking_uri == ADDRESS


async def test_another_address_is_used_when_it_has_lasted(agents: Agents) -> None:
    agents.observe(mlflow(url=GATEWAY))
    other = mlflow(url="https://other.example")
    assert agents.observe(other) == SETTLE_SECONDS
    skip(SETTLE_SECONDS - 1)
    assert agents.observe(other) == 1
    assert agents.tracking_uri == GATEWAY
    skip(1)
    assert agents.observe(other) is None
    assert agents.tracking_uri == "https://other.example"


async def test_an_address_that_flaps_is_never_used(agents: Agents) -> None:
    agents.observe(mlflow(url=GATEWAY))
    for number in range(20):
        agents.observe(mlflow(url=GATEWAY if number % 2 else "https://other.example"))
        skip(SETTLE_SECONDS - 1)
        assert agents.tracking_uri == GATEWAY


async def test_a_gateway_that_only_leaves_the_status_is_kept_for_long(agents: Agents) -> None:
    agents.observe(mlflow(url=GATEWAY))
    assert agents.observe(mlflow()) == GATEWAY_GONE_SECONDS
    skip(GATEWAY_GONE_SECONDS - 1)
    assert agents.observe(mlflow()) == 1
    assert (agents.tracking_uri, agents.keep(GATEWAY)) == (GATEWAY, GATEWAY)
    skip(1)
    assert agents.observe(mlflow()) is None
    assert agents.endpoint == Endpoint(ADDRESS, ADDRESS, uid="u1")


async def test_an_address_that_moves_with_its_gateway_gone_is_followed(agents: Agents) -> None:
    agents.observe(mlflow(url=GATEWAY))
    moved = mlflow("https://elsewhere.svc")
    assert agents.observe(moved) == SETTLE_SECONDS
    # Nobody gets an experiment of there before its address.
    assert agents.endpoint == Endpoint(GATEWAY, ADDRESS, uid="u1", keeps_gateway=True)
    skip(SETTLE_SECONDS)
    agents.observe(moved)
    elsewhere = "https://elsewhere.svc"
    assert agents.endpoint == Endpoint(elsewhere, elsewhere, uid="u1")


async def test_another_mlflow_begins_anew(agents: Agents) -> None:
    agents.observe(mlflow(url=GATEWAY))
    agents.observe(mlflow(url="https://other.example", uid="u2"))
    assert agents.tracking_uri == "https://other.example"


@pytest.mark.parametrize(
    ("address", "is_openshift", "expected"),
    [
        ("https://mlflow.opendatahub.svc:8443/mlflow", True, True),
        ("https://mlflow.opendatahub.svc.cluster.local:8443", True, True),
        ("https://mlflow.opendatahub.svc:8443", False, False),
        ("http://mlflow.opendatahub.svc:5000", True, False),
        ("https://mlflow.svc.example.com", True, False),
    ],
)
async def test_the_service_ca_is_for_services_of_openshift(
    agents: Agents, address: str, is_openshift: bool, expected: bool
) -> None:
    agents.is_openshift.set(is_openshift)
    agents.observe(mlflow(address))
    skip(GATEWAY_SECONDS)
    agents.observe(mlflow(address))
    assert agents.endpoint == Endpoint(address, address, expected, uid="u1", keeps_gateway=True)


async def test_a_gateways_certificate_is_none_of_the_service_ca(agents: Agents) -> None:
    agents.is_openshift.set(True)
    agents.observe(mlflow(url=GATEWAY))
    assert agents.endpoint == Endpoint(GATEWAY, ADDRESS, service_ca=False, uid="u1")


async def test_agents_wait_until_it_is_known_whether_they_need_the_service_ca(agents: Agents) -> None:
    agents.is_openshift.set(None)
    agents.observe(mlflow(since="2026-01-01T00:00:00Z"))
    skip(GATEWAY_SECONDS)
    agents.observe(mlflow(since="2026-01-01T00:00:00Z"))
    assert agents.endpoint is None
    agents.is_openshift.set(True)
    agents.observe(mlflow(since="2026-01-01T00:00:00Z"))
    assert agents.endpoint == Endpoint(ADDRESS, ADDRESS, service_ca=True, uid="u1", keeps_gateway=True)


# --- which address --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trusts", "gateway", "expected"),
    [
        (True, GATEWAY, GATEWAY),
        (False, GATEWAY, ADDRESS),
        (None, GATEWAY, ADDRESS),
        # Nobody's certificate says who that is.
        (True, "http://gateway.example/mlflow", ADDRESS),
    ],
)
async def test_a_gateway_is_used_where_pods_trust_it_by_themselves(
    trusts: bool | None, gateway: str, expected: str
) -> None:
    agents = Agents()
    agents.trusts = trusts
    agents.observe(mlflow(url=gateway))
    assert agents.tracking_uri == expected


async def test_agents_wait_until_the_gateways_certificate_was_tried(agents: Agents) -> None:
    assert agents.observe(mlflow(url=GATEWAY), tried=False) is None
    assert agents.endpoint is None
    agents.observe(mlflow(url=GATEWAY))
    assert agents.tracking_uri == GATEWAY


async def test_a_certificate_that_is_another_by_now_changes_the_address_when_that_lasts(
    agents: Agents,
) -> None:
    agents.observe(mlflow(url=GATEWAY))
    agents.trusts = False
    assert agents.observe(mlflow(url=GATEWAY)) == SETTLE_SECONDS
    assert agents.tracking_uri == GATEWAY
    skip(SETTLE_SECONDS)
    agents.observe(mlflow(url=GATEWAY))
    assert agents.tracking_uri == ADDRESS


@pytest.mark.parametrize("trusts", [True, False, None])
async def test_who_wants_one_of_the_two_has_that_one_whatever_its_certificate(trusts: bool | None) -> None:
    wanted: dict[AgentsAddress, str] = {"gateway": GATEWAY, "service": ADDRESS}
    for mode, expected in wanted.items():
        agents = Agents(mode)
        agents.trusts = trusts
        agents.observe(mlflow(url=GATEWAY))
        assert agents.tracking_uri == expected


async def test_who_wants_the_gateway_waits_for_it_and_who_wants_the_service_does_not() -> None:
    behind, beside = Agents("gateway"), Agents("service")
    for agents in (behind, beside):
        agents.observe(mlflow())
    assert behind.endpoint is None
    assert beside.tracking_uri == ADDRESS
    skip(10 * GATEWAY_GONE_SECONDS)
    behind.observe(mlflow())
    assert behind.endpoint is None


async def test_an_untrusted_gateway_serves_where_there_is_never_an_address(agents: Agents) -> None:
    agents.trusts = False
    assert agents.observe(mlflow(None, GATEWAY)) == GATEWAY_GONE_SECONDS
    assert agents.endpoint is None
    skip(GATEWAY_GONE_SECONDS)
    agents.observe(mlflow(None, GATEWAY))
    assert agents.tracking_uri == GATEWAY


async def test_an_address_that_only_leaves_the_status_is_kept_beside_an_untrusted_gateway(
    agents: Agents,
) -> None:
    agents.trusts = False
    agents.observe(mlflow(url=GATEWAY))
    skip(GATEWAY_GONE_SECONDS)
    assert agents.observe(mlflow(None, GATEWAY)) == GATEWAY_GONE_SECONDS
    assert agents.tracking_uri == ADDRESS


# --- an operator that is started anew -------------------------------------------------------------------

LONG_AGO = "2025-01-01T00:00:00Z"
FORMER = "https://mlflow.before.svc:8443"


async def test_agents_keep_their_gateway_when_the_operator_starts_while_it_is_missing(agents: Agents) -> None:
    """Nobody is rolled to the address and back; but nobody keeps a dead gateway for ever either."""
    missing = mlflow(since=LONG_AGO)
    assert agents.observe(missing) == GATEWAY_GONE_SECONDS
    assert agents.tracking_uri == ADDRESS
    assert agents.keep(GATEWAY) == GATEWAY
    assert agents.keep(ADDRESS) == ADDRESS
    skip(GATEWAY_GONE_SECONDS - 1)
    assert agents.observe(missing) == 1
    assert agents.keep(GATEWAY) == GATEWAY
    skip(1)
    assert agents.observe(missing) is None
    assert agents.keep(GATEWAY) == ADDRESS


async def test_a_gateway_that_is_back_is_kept_through_its_trial_and_until_it_has_lasted(
    agents: Agents,
) -> None:
    agents.observe(mlflow(since=LONG_AGO))
    agents.observe(mlflow(url=GATEWAY, since=LONG_AGO), tried=False)
    assert agents.keep(GATEWAY) == GATEWAY
    agents.observe(mlflow(url=GATEWAY, since=LONG_AGO))
    assert (agents.tracking_uri, agents.keep(GATEWAY)) == (ADDRESS, GATEWAY)
    skip(SETTLE_SECONDS)
    agents.observe(mlflow(url=GATEWAY, since=LONG_AGO))
    assert agents.tracking_uri == agents.keep(ADDRESS) == GATEWAY


async def test_agents_keep_a_gateway_that_does_not_answer_an_operator_that_starts(agents: Agents) -> None:
    agents.trusts = None
    agents.observe(mlflow(url=GATEWAY, since=LONG_AGO))
    assert (agents.tracking_uri, agents.keep(GATEWAY)) == (ADDRESS, GATEWAY)


async def test_nobody_keeps_a_gateway_that_pods_do_not_trust(agents: Agents) -> None:
    agents.trusts = False
    agents.observe(mlflow(url=GATEWAY, since=LONG_AGO))
    assert agents.keep(GATEWAY) == ADDRESS


async def test_nobody_keeps_a_service_that_mlflow_left_meanwhile(agents: Agents) -> None:
    agents.observe(mlflow(since=LONG_AGO))
    assert agents.keep(FORMER) == ADDRESS


@pytest.mark.parametrize("text", ["file:///mlruns", "databricks", "https://", "https://[::1"])
async def test_nobody_keeps_what_is_no_address(agents: Agents, text: str) -> None:
    agents.observe(mlflow(since=LONG_AGO))
    assert agents.keep(text) == ADDRESS


async def test_without_any_address_nobody_is_told_another(agents: Agents) -> None:
    assert agents.observe(mlflow(None, None, since=LONG_AGO)) is None
    assert agents.endpoint is None


@pytest.mark.parametrize(
    ("mode", "gateway", "address", "field"),
    [
        ("gateway", None, ADDRESS, "status.url"),
        ("service", GATEWAY, None, "status.address.url"),
    ],
)
def test_the_one_address_that_agents_are_to_use_is_missed_by_its_field(
    mode: AgentsAddress, gateway: str | None, address: str | None, field: str
) -> None:
    (report,) = report_no_address(mode, gateway, address)
    assert f"no usable {field}," in report.message
    assert not [*report_no_address(mode, GATEWAY, ADDRESS)]
    assert not [*report_no_address("auto", gateway, address)]
