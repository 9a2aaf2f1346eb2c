"""The way of a trace on each platform on which no other test plays the demo."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack
from io import StringIO
from pathlib import Path

import pytest

from kagenti_devcluster.cluster.kubectl import Manifest
from kagenti_devcluster.demo import steps_agent, steps_cluster, steps_operator
from kagenti_devcluster.demo.failures import Hop, NoAnswer
from kagenti_devcluster.demo.report import Console
from kagenti_devcluster.demo.stage import COLLECTOR, TEAM, Stage
from kagenti_devcluster.demo.waiting import NotYet
from kagenti_devcluster.demo.workloads import environment, is_rolled_out, workload_path
from kagenti_devcluster.host.launcher import start, stop
from kagenti_devcluster.host.options import ClusterOptions, publish
from kagenti_devcluster.host.status import Status
from kagenti_devcluster.profiles import PROFILES
from tests.e2e.reading import read
from tests.support.recorded_requests import RecordRequests, operator_of

AGENT = "traced-agent"
# All that an agent has to have: a function that is traced.
CODE = """
import signal

import mlflow


@mlflow.trace
def answer(question: str) -> str:
    return f"{question} 42."


answer("What is six times seven?")
mlflow.flush_trace_async_logging()
print(f"trace {mlflow.get_last_active_trace_id()}", flush=True)
signal.pause()
"""
WORKLOAD = workload_path("deployments", TEAM, AGENT)


@pytest.fixture(params=["openshift-ai-3.4", "next", "kubernetes"])
def cluster(
    request: pytest.FixtureRequest, tmp_path: Path, record_requests: RecordRequests
) -> Iterator[tuple[ClusterOptions, Status]]:
    """A cluster that looks like one of the platforms."""
    profile = PROFILES[request.param]
    options = ClusterOptions(
        directory=tmp_path, profile=profile.name, published=publish(profile, mlflow=True, keycloak=False)
    )
    status = start(options, die_with_parent=True)
    yield options, status
    stop(tmp_path)
    record_requests(stage_of(options).paths.audit_log, operator_of(profile.names))


def stage_of(options: ClusterOptions, exits: AsyncExitStack | None = None) -> Stage:
    return Stage(options, Console(StringIO()), exits or AsyncExitStack(), {})


@pytest.fixture
async def stage(cluster: tuple[ClusterOptions, Status]) -> AsyncGenerator[Stage]:
    options, status = cluster
    async with AsyncExitStack() as exits:
        made = stage_of(options, exits)
        made.addresses = status.addresses
        await made.connect()
        yield made


def build_agent() -> list[Manifest]:
    """A labelled workload whose code knows nothing of where MLflow is."""
    meta = {"name": AGENT, "namespace": TEAM}
    labels = {"app": AGENT}
    container = {
        "name": "agent",
        "image": "opendatahub/mlflow:3.14",
        "command": ["python", "/app/agent.py"],
        "volumeMounts": [{"name": "code", "mountPath": "/app"}],
    }
    pod = {"containers": [container], "volumes": [{"name": "code", "configMap": {"name": AGENT}}]}
    spec = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"agent.py": CODE}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {**meta, "labels": {**labels, "kagenti.io/type": "agent"}},
            "spec": spec,
        },
    ]


async def test_what_agents_trace_and_what_the_collector_is_sent_is_in_mlflow(stage: Stage):
    await steps_operator.install(stage)
    await steps_cluster.make_team(stage)
    await stage.apply(*build_agent())
    await steps_operator.read_messages(stage)
    await steps_operator.read_configuration(stage)
    await asyncio.gather(expect_trace_of_agent(stage), expect_span_of_collector(stage))


async def expect_trace_of_agent(stage: Stage) -> None:
    async def configured() -> str:
        workload = await read(stage, WORKLOAD)
        if "MLFLOW_EXPERIMENT_ID" not in environment(workload) or not is_rolled_out(workload):
            raise NotYet("it has not been rolled with its environment")
        return environment(workload)["MLFLOW_EXPERIMENT_ID"]

    experiment = await stage.until(f"environment of {AGENT}", configured, seconds=120, hop=Hop.OPERATOR)

    async def traced() -> str:
        said = stage.logs.read_latest(TEAM, AGENT)
        found = [line.removeprefix("trace ") for line in said if line.startswith("trace ")]
        if not found:
            raise NotYet("it has not printed the id of its trace")
        return found[-1]

    evidence = (TEAM, AGENT)
    trace = await stage.until("a trace", traced, seconds=120, hop=Hop.AGENT, evidence=evidence)
    await expect_trace(stage, experiment, trace, evidence)


async def expect_span_of_collector(stage: Stage) -> None:
    trace, now = secrets.token_hex(16), time.time_ns()
    span = steps_agent.build_client_span(trace, secrets.token_hex(8), now, now + 1)
    await steps_agent.send_span(stage, span)
    await expect_trace(stage, stage.experiment_id, f"tr-{trace}", (stage.system, COLLECTOR))


async def expect_trace(stage: Stage, experiment: str, trace: str, evidence: tuple[str, str]) -> None:
    mlflow = await stage.mlflow()

    async def found() -> None:
        try:
            ids = await mlflow.trace_ids(TEAM, experiment)
        except NoAnswer as nobody:
            raise NotYet(nobody.problem) from nobody
        if trace not in ids:
            raise NotYet(f"experiment {experiment} has {ids}")

    await stage.until(trace, found, seconds=60, hop=Hop.DELIVERY, evidence=evidence)
