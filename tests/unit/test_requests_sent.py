"""Which requests count as sent for a piece of work."""

import asyncio
import random

import pytest

from kagenti_operator.http.retry import RetryPolicy
from kagenti_operator.kube.auth.connection import Connection
from kagenti_operator.kube.auth.rotation import FixedToken
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.mlflow.client import MLflowClient
from kagenti_operator.mlflow.errors import MLflowError
from kagenti_operator.requests_sent import count_request, counting
from tests.support.misbehaving_server import Answer, serving
from tests.support.peer import running_peer


async def test_each_try_of_a_request_to_the_api_server_counts() -> None:
    async with running_peer() as peer, KubeClient(Connection(peer.url)) as client:
        with counting() as sent:
            asking = asyncio.ensure_future(client.raw("GET", "/version"))
            await (await peer.request()).refuse(401)
            await (await peer.request()).refuse(401)
            with pytest.raises(ApiError):
                await asking
        assert sent.number == 2


async def test_requests_to_mlflow_count() -> None:
    experiment = {"experiment_id": "7", "name": "weather"}
    mlflow = MLflowClient(token=FixedToken("token"), rng=random.Random(7))
    async with serving(Answer(body={"experiment_id": "7", "experiment": experiment})) as server:
        with counting() as sent:
            await mlflow.ensure_experiment(server.url, "team1", "weather")
    await mlflow.close()
    assert sent.number == 2


async def test_what_a_server_fails_at_does_not_count() -> None:
    async with running_peer() as peer, KubeClient(Connection(peer.url)) as client:
        with counting() as sent:
            asking = asyncio.ensure_future(client.raw("GET", "/version"))
            await (await peer.request()).refuse(500)
            with pytest.raises(ApiError):
                await asking
    mlflow = MLflowClient(token=FixedToken("token"), rng=random.Random(7), policy=RetryPolicy(total=0.3))
    async with serving(Answer(status=503)) as server:
        with counting() as asked, pytest.raises(MLflowError):
            await mlflow.ensure_experiment(server.url, "team1", "weather")
    await mlflow.close()
    assert (sent.number, asked.number) == (0, 0)


async def test_what_is_sent_beside_it_does_not_count() -> None:
    count_request()
    with counting() as sent:
        count_request()
        with counting() as inner:
            count_request()
    count_request()
    assert (sent.number, inner.number) == (1, 1)
