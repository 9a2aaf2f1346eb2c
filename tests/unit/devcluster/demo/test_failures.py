"""Agents and an MLflow that do not answer: a failed step that names the hop, not a traceback."""

import base64
import io
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from trustme import CA

from kagenti_devcluster.demo.api import Api
from kagenti_devcluster.demo.failures import Hop
from kagenti_devcluster.demo.mlflow_reader import MLflowReader
from kagenti_devcluster.demo.report import Console, Outcome
from kagenti_devcluster.demo.runner import Step, run_steps
from kagenti_devcluster.demo.stage import Stage
from kagenti_devcluster.demo.steps_agent import read_trace
from kagenti_devcluster.host.options import ClusterOptions
from kagenti_operator.kube.auth.connection import Connection
from kagenti_operator.kube.client import KubeClient
from tests.support.misbehaving_server import Answer, HangUp, Server, Silence, serving


@pytest.fixture
async def session() -> AsyncGenerator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made


def reader(server: Server, session: aiohttp.ClientSession) -> MLflowReader:
    return MLflowReader(session, server.url, "token", CA().cert_pem.bytes().decode())


async def ask_agent(server: Server, session: aiohttp.ClientSession, seconds: float = 60.0) -> Outcome:
    async with KubeClient(Connection(server.url)) as client:
        api = Api(client, session)
        await api.call_service("team1", "weather-agent:8000", "/", {}, hop=Hop.AGENT, seconds=seconds)
    return Outcome("it answers")


async def ask_mlflow(server: Server, session: aiohttp.ClientSession) -> Outcome:
    await reader(server, session).run("team1", "r1")
    return Outcome("it answers")


async def reported(run: Any, behaviour: HangUp | Silence, session: aiohttp.ClientSession) -> str:
    """What a demo of this one step prints."""
    out = io.StringIO()
    async with serving(behaviour) as server:
        step = Step[Server](title="A step", checks="an answer", run=lambda stage: run(stage, session))
        assert not await run_steps([step], server, Console(out))
    return out.getvalue()


async def test_an_agent_that_takes_too_long_is_the_broken_hop(session: aiohttp.ClientSession):
    said = await reported(partial(ask_agent, seconds=0.05), Silence(), session)
    assert "✘ no answer to POST / of team1/weather-agent:8000: nothing within 0.05 s" in said
    assert "broken hop: the agent\n" in said
    assert "look further: kagenti-devcluster logs weather-agent\n" in said


async def test_a_proxy_that_hangs_up_is_trouble_with_the_api_server(session: aiohttp.ClientSession):
    said = await reported(ask_agent, HangUp(), session)
    assert "✘ POST / of team1/weather-agent:8000: Server disconnected" in said
    assert "broken hop: the demo → API server\n" in said


async def test_an_mlflow_that_hangs_up_is_the_broken_hop(session: aiohttp.ClientSession):
    said = await reported(ask_mlflow, HangUp(), session)
    assert "✘ no answer to GET /api/2.0/mlflow/runs/get: Server disconnected" in said
    assert "broken hop: MLflow\n" in said
    assert "look further: kagenti-devcluster logs mlflow\n" in said


TRACE = "tr-" + "a" * 32


def span(number: int, kind: str) -> dict[str, Any]:
    return {
        "span_id": base64.b64encode(bytes([number] * 8)).decode(),
        "name": kind.lower(),
        "attributes": [{"key": "mlflow.spanType", "value": {"string_value": kind}}],
    }


async def test_reading_a_trace_waits_for_an_mlflow_that_is_away(
    tmp_path: Path, session: aiohttp.ClientSession
):
    class AtMLflow(Stage):
        async def mlflow(self) -> MLflowReader:
            return reader(server, session)

    found = Answer(body={"traces": [{"trace_id": TRACE}]})
    spans = Answer(body={"trace": {"spans": [span(1, "AGENT"), span(2, "CHAT_MODEL")]}})
    out = io.StringIO()
    async with serving(HangUp(), found, spans) as server, AsyncExitStack() as exits:
        stage = AtMLflow(ClusterOptions(directory=tmp_path), Console(out), exits, {})
        stage.stand_in, stage.experiment_id, stage.trace_id = False, "1", TRACE
        outcome = await read_trace(stage)
    assert outcome.summary == "2 spans in experiment 1 of team1"
    assert [asked.path.rpartition("/")[2] for asked in server.asked] == ["search", "search", "get"]
