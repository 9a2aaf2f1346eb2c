"""From a workload's label to its environment, on local clusters with a real MLflow."""

import asyncio
import statistics
from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from io import StringIO
from pathlib import Path
from typing import Any

from benchmarks.progress import say
from benchmarks.witness import Witness, witness, witness_configured
from kagenti_devcluster.cluster.kubectl import Manifest
from kagenti_devcluster.demo import steps_cluster, steps_operator
from kagenti_devcluster.demo.report import Console
from kagenti_devcluster.demo.stage import TEAM, Stage
from kagenti_devcluster.host.launcher import start, stop
from kagenti_devcluster.host.options import ClusterOptions, publish
from kagenti_devcluster.profiles import PROFILES, Profile
from kagenti_operator.contract import KAGENTI, Names
from kagenti_operator.kube.auth.credentials import load_connection
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.objects.models import LabelledObject
from kagenti_operator.kube.resources import Resource

# People label agents on the first; on the second the platform's operator does, once there is an AgentRuntime.
MEASURED = ("openshift-ai-3.4", "openshift-ai-3.5")
AGENTS = 30
_DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", LabelledObject)


async def measure_labels(directory: Path) -> dict[str, Any]:
    """Seconds, by profile."""
    return {name: await _measure(PROFILES[name], directory / name) for name in MEASURED}


async def _measure(profile: Profile, directory: Path) -> dict[str, Any]:
    say(f"starting {profile.title}, with the operator")
    async with open_stage(profile, directory) as stage:
        await steps_operator.install(stage)
        await steps_cluster.make_team(stage)
        # When this is said, MLflow was found and its path asked.
        await steps_operator.read_messages(stage)
        say(f"labelling {AGENTS} workloads, one after the other")
        async with (
            AsyncExitStack() as exits,
            KubeClient(load_connection({"KUBECONFIG": str(stage.paths.kubeconfig)})) as client,
        ):
            labels = await exits.enter_async_context(witness_labelled(client, stage.names))
            environments = await exits.enter_async_context(witness_configured(client, stage.names))
            return await _follow(stage, labels, environments)


async def _follow(stage: Stage, labels: Witness, environments: Witness) -> dict[str, Any]:
    keys = [(TEAM, f"agent-{number:02}") for number in range(AGENTS)]
    for key in keys:
        await stage.apply(build_workload(key[1]))
        await environments.wait_for([key])
    return summarize(environments.seen[key] - labels.seen[key] for key in keys)


def summarize(seconds: Iterable[float]) -> dict[str, Any]:
    found = sorted(seconds)
    return {
        "samples": len(found),
        "p50_seconds": round(statistics.median(found), 3),
        "max_seconds": round(found[-1], 3),
    }


def witness_labelled(client: KubeClient, names: Names):
    """Watch the Deployments that bear the agents' label."""
    label, _, value = names.agent_selector.partition("=")
    return witness(client, _DEPLOYMENTS, fulfilled=lambda it: it.metadata.labels.get(label) == value)


def build_workload(name: str) -> Manifest:
    """An agent as it is written for people who label it; without a pod, so that nothing else is measured."""
    labels = {"app": name}
    pod = {"containers": [{"name": "agent", "image": "agent"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": TEAM,
            "labels": dict([KAGENTI.agent_selector.split("=")]),
        },
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


@asynccontextmanager
async def open_stage(profile: Profile, directory: Path) -> AsyncGenerator[Stage]:
    """A cluster that looks like that platform, for as long as this lasts."""
    options = ClusterOptions(
        directory=directory, profile=profile.name, published=publish(profile, mlflow=True, keycloak=False)
    )
    status = await asyncio.to_thread(start, options, die_with_parent=True)
    try:
        async with AsyncExitStack() as exits:
            stage = Stage(options, Console(StringIO()), exits, {})
            stage.addresses = status.addresses
            await stage.connect()
            yield stage
    finally:
        await asyncio.to_thread(stop, directory)
