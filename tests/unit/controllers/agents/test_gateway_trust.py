"""Whether pods trust the gateway's certificate: real handshakes with servers that a test plays."""

import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
import structlog
from trustme import CA

from kagenti_devcluster.cluster.pki import serving_context
from kagenti_operator.controllers.agents.addresses import GatewayTrust
from kagenti_operator.controllers.agents.gateway_trust import (
    AGAIN_SECONDS,
    UNANSWERED,
    GatewayTrustReconciler,
    try_certificate,
)
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.objects.models import MLflow
from kagenti_operator.runtime.observable import Observable
from tests.support.misbehaving_server import Answer, serving
from tests.support.virtual_time import skip
from tests.unit.controllers.dependencies import open_dependencies, put

pytestmark = pytest.mark.virtual_time

SYSTEMS = CA()


def build_context() -> ssl.SSLContext:
    """As if that CA were one of the system's."""
    context = ssl.create_default_context()
    context.load_verify_locations(cadata=SYSTEMS.cert_pem.bytes().decode())
    return context


def mlflow(url: str | None) -> MLflow:
    said: dict[str, Any] = {"conditions": [{"type": "Available", "status": "True"}], "url": url}
    return msgspec.convert({"metadata": {"name": "mlflow", "uid": "u1"}, "status": said}, MLflow)


@pytest.mark.parametrize(
    ("authority", "name", "expected"),
    [
        (SYSTEMS, "127.0.0.1", True),
        (CA(), "127.0.0.1", False),
        (SYSTEMS, "another.example", False),
    ],
    ids=["the system's", "a company's", "of another host"],
)
async def test_a_certificate_is_good_by_the_systems_cas_only(
    authority: CA, name: str, expected: bool
) -> None:
    async with serving(Answer(), tls=serving_context(authority, name)) as gateway:
        trusted, why = await try_certificate(f"{gateway.url}/mlflow", build_context)
        # Nothing is asked of it.
        assert gateway.asked == []
    assert trusted is expected
    assert bool(why) is not expected


async def test_a_gateway_that_shows_no_certificate_tells_nothing() -> None:
    async with serving(Answer()) as plain:
        pass
    assert (await try_certificate(plain.url.replace("http:", "https:")))[0] is None
    async with serving(Answer()) as plain:
        assert (await try_certificate(plain.url.replace("http:", "https:")))[0] is None


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".example", "[::1", "gateway.example:99999"])
async def test_an_address_that_is_none_tells_nothing_and_what_is_wrong(host: str) -> None:
    trusted, why = await try_certificate(f"https://{host}/mlflow", build_context)
    assert trusted is None
    assert why


@dataclass
class Bench:
    reconciler: GatewayTrustReconciler
    trust: Observable[GatewayTrust | None]
    facts: MLflowFacts

    async def look(self, url: str | None) -> float | None:
        put(self.facts.mlflows, mlflow(url))
        return await self.reconciler.reconcile()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with open_dependencies(Settings()) as dependencies:
        facts, trust = MLflowFacts(dependencies.informers), Observable[GatewayTrust | None](None)
        yield Bench(GatewayTrustReconciler(dependencies, facts, trust, build_context), trust, facts)


@asynccontextmanager
async def gateway(authority: CA = SYSTEMS, port: int = 0) -> AsyncGenerator[str]:
    async with serving(Answer(), tls=serving_context(authority, "127.0.0.1"), port=port) as server:
        yield server.url


async def test_it_is_tried_once_and_then_rarely(bench: Bench) -> None:
    async with gateway() as url:
        wait = await bench.look(url)
        assert bench.trust.value == GatewayTrust(url, trusted=True)
        assert wait is not None
        assert wait >= AGAIN_SECONDS
    # Of what happens to it before, nobody takes note.
    skip(60)
    left = await bench.look(url)
    assert left is not None
    assert left > AGAIN_SECONDS - 61


async def test_what_was_found_stays_while_it_does_not_answer_and_changes_with_its_certificate(
    bench: Bench,
) -> None:
    async with gateway() as url:
        await bench.look(url)
    skip(2 * AGAIN_SECONDS)
    assert await bench.look(url) is not None
    assert bench.trust.value == GatewayTrust(url, trusted=True)
    skip(2 * AGAIN_SECONDS)
    async with gateway(CA(), int(url.rpartition(":")[2])):
        await bench.look(url)
    assert bench.trust.value == GatewayTrust(url, trusted=False)


async def test_one_that_does_not_answer_is_unclear_and_tried_again_ever_more_seldom(bench: Bench) -> None:
    async with gateway() as url:
        pass
    first = await bench.look(url)
    assert bench.trust.value == GatewayTrust(url, trusted=None)
    skip(first or 0)
    second = await bench.look(url)
    assert first is not None
    assert second is not None
    assert UNANSWERED.first <= first < second
    skip(second)
    async with gateway(port=int(url.rpartition(":")[2])):
        await bench.look(url)
    assert bench.trust.value == GatewayTrust(url, trusted=True)


async def test_another_gateway_is_tried_at_once(bench: Bench) -> None:
    async with gateway() as first, gateway(CA()) as second:
        await bench.look(first)
        await bench.look(second)
        assert bench.trust.value == GatewayTrust(second, trusted=False)


@pytest.mark.parametrize("url", [None, "http://127.0.0.1:1"])
async def test_without_a_certificate_nothing_is_tried(bench: Bench, url: str | None) -> None:
    assert await bench.look(url) is None
    assert bench.trust.value is None


async def test_what_was_reported_of_a_gateway_is_over_when_there_is_none(bench: Bench) -> None:
    url = f"https://{'a' * 64}.example"
    await bench.look(url)
    assert bench.trust.value == GatewayTrust(url, trusted=None)
    with structlog.testing.capture_logs() as logs:
        await bench.look(None)
        skip(2 * AGAIN_SECONDS)
        await bench.look(url)
    # Said once more, since it is another time.
    assert len([line for line in logs if "could not be tried" in line["event"]]) == 1
