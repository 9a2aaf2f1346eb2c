"""Which token the operator sends MLflow: requested, renewed, and its own only where that is refused."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import jwt
import pytest

from kagenti_operator.controllers.mlflow.client_token import (
    AGAIN_SECONDS,
    LIFETIME_SECONDS,
    RENEWED_AFTER,
    YOUNG_SECONDS,
    ClientToken,
)
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.auth.connection import Connection
from kagenti_operator.kube.auth.rotation import FixedToken
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError
from tests.support.chance import Chance
from tests.support.event_bench import EventBench
from tests.support.misbehaving_server import Answer, Server, Step, serving
from tests.support.virtual_time import settle, skip

pytestmark = pytest.mark.virtual_time

REFUSED = Answer(403, {"reason": "Forbidden", "code": 403, "message": "cannot create resource"})
ABSENT = Answer(404, {"reason": "NotFound", "code": 404, "message": 'serviceaccounts "x" not found'})
AWAY = Answer(500, {"reason": "InternalError", "code": 500, "message": "etcd is away"})


def issue(name: str, seconds: int = LIFETIME_SECONDS) -> str:
    return jwt.encode({"sub": name, "iat": 0, "exp": seconds}, "a key of as many bytes as it takes")


def issued(name: str, seconds: int = LIFETIME_SECONDS) -> Answer:
    return Answer(
        201, {"status": {"token": issue(name, seconds), "expirationTimestamp": "2026-01-01T01:00:00Z"}}
    )


@dataclass
class Bench:
    token: ClientToken
    server: Server
    events: EventBench

    async def shown(self) -> str | None:
        await self.token.prepare()
        await settle()
        return self.token.current()

    @property
    def reasons(self) -> list[str]:
        return [event["reason"] for event in self.events.sent.created]


@pytest.fixture
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    steps: tuple[Step, ...] = request.param
    events, rng = EventBench(), Chance()
    async with (
        serving(*steps) as server,
        KubeClient(Connection(server.url), patience_seconds=0, rng=rng) as client,
        events.sending(),
    ):
        token = ClientToken(client, Settings(own_namespace="traces"), FixedToken("own"), events.recorder, rng)
        yield Bench(token, server, events)


@pytest.mark.parametrize("bench", [(issued("first"), issued("second"))], indirect=True)
async def test_a_token_of_the_clients_account_is_requested_and_renewed_in_time(bench: Bench) -> None:
    assert await bench.shown() == issue("first")
    (asked,) = bench.server.asked
    assert asked.method == "POST"
    assert asked.path == "/api/v1/namespaces/traces/serviceaccounts/kagenti-mlflow-client/token"
    # Without audiences it is one for the API server, which MLflow asks with it.
    assert asked.body["spec"] == {"expirationSeconds": LIFETIME_SECONDS}
    skip(RENEWED_AFTER * LIFETIME_SECONDS - 1)
    assert await bench.shown() == issue("first")
    skip(1)
    assert await bench.shown() == issue("second")
    assert bench.reasons == []


@pytest.mark.parametrize("bench", [(issued("short", 600), issued("second"))], indirect=True)
async def test_the_api_server_may_give_it_a_shorter_life(bench: Bench) -> None:
    assert await bench.shown() == issue("short", 600)
    skip(RENEWED_AFTER * 600)
    assert await bench.shown() == issue("second")


@pytest.mark.parametrize("bench", [(issued("first"),)], indirect=True)
async def test_many_at_once_request_one(bench: Bench) -> None:
    await asyncio.gather(*(bench.token.prepare() for _ in range(20)))
    assert len(bench.server.asked) == 1


@pytest.mark.parametrize(
    "bench", [(REFUSED, REFUSED, issued("first")), (ABSENT, ABSENT, issued("first"))], indirect=True
)
async def test_where_that_is_refused_its_own_serves_and_an_event_says_so_once(bench: Bench) -> None:
    for _ in range(3):
        assert await bench.shown() == "own"
    assert len(bench.server.asked) == 1
    skip(AGAIN_SECONDS)
    assert await bench.shown() == "own"
    (event,) = bench.events.sent.created
    assert event["reason"] == "MLflowTokenNotRequested"
    assert event["regarding"]["name"] == "kagenti-mlflow-client"
    assert "serviceaccounts/token" in event["note"]
    skip(AGAIN_SECONDS)
    assert await bench.shown() == issue("first")
    assert bench.reasons == ["MLflowTokenNotRequested", "MLflowTokenNotRequestedResolved"]
    note = bench.events.sent.created[-1]["note"]
    assert "The operator authenticates to MLflow as ServiceAccount 'kagenti-mlflow-client'" in note


@pytest.mark.parametrize("bench", [(issued("first"), AWAY), (issued("first"), REFUSED)], indirect=True)
async def test_what_serves_goes_on_to_while_it_cannot_be_renewed(bench: Bench) -> None:
    await bench.shown()
    skip(RENEWED_AFTER * LIFETIME_SECONDS)
    for _ in range(3):
        assert await bench.shown() == issue("first")
    assert len(bench.server.asked) == 2
    assert bench.reasons == []


@pytest.mark.parametrize("bench", [(issued("first"), AWAY)], indirect=True)
async def test_its_own_is_never_shown_for_a_failure(bench: Bench) -> None:
    await bench.shown()
    skip(LIFETIME_SECONDS)
    for _ in range(2):
        with pytest.raises(ApiError, match="etcd is away"):
            await bench.token.prepare()


@pytest.mark.parametrize("bench", [(issued("first"), issued("second"))], indirect=True)
async def test_one_that_mlflow_does_not_take_is_replaced_but_not_each_time(bench: Bench) -> None:
    await bench.shown()
    bench.token.reject()
    assert await bench.shown() == issue("first")
    skip(YOUNG_SECONDS)
    bench.token.reject()
    assert await bench.shown() == issue("second")
