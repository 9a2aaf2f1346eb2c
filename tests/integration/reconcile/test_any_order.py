"""What the operator waits for may come and go in any order: the end is the same."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from kagenti_devcluster.testing.platform import (
    DSC_CRD,
    INTEGRATION,
    MLFLOW_CRD,
    OPENSHIFT_CRD,
    RBAC,
    SYSTEM,
    Platform,
    build_service,
    eventually,
    workload_path,
)
from tests.support.agents import Agents
from tests.support.collector import (
    expect_binding,
    expect_config,
    expect_headers,
    expect_rolled,
    install_collector,
)
from tests.support.mlflow import MLflow
from tests.support.operator_process import StartOperator

PHOENIX = f"/api/v1/namespaces/{SYSTEM}/services/phoenix"
# Changes follow each other at once, or after the operator has had time to take one up.
PAUSES = (0.0, 0.0, 0.7)

type Change = Callable[[], Awaitable[object]]


class Changes:
    """What comes and goes. The collector stays, so that its rollout is seen."""

    def __init__(self, platform: Platform, team: str) -> None:
        self._platform = platform
        self._team = team

    @property
    def arrivals(self) -> list[Change]:
        platform = self._platform
        return [
            self._manage,
            lambda: platform.install_crd(MLFLOW_CRD),
            lambda: platform.install_crd(OPENSHIFT_CRD),
            lambda: platform.cluster_role(INTEGRATION),
            lambda: platform.set_mlflow_endpoint(ready=True),
            lambda: platform.put(PHOENIX, build_service("phoenix")),
            lambda: install_collector(platform),
            lambda: platform.workload(self._team, "weather"),
        ]

    @property
    def departures(self) -> list[Change]:
        platform = self._platform
        return [
            lambda: platform.remove_crd(DSC_CRD),
            lambda: platform.remove_crd(MLFLOW_CRD),
            lambda: platform.remove_crd(OPENSHIFT_CRD),
            lambda: platform.delete(f"{RBAC}/clusterroles/{INTEGRATION}"),
            lambda: platform.set_mlflow_endpoint(ready=False),
            lambda: platform.delete(PHOENIX),
            lambda: platform.delete(workload_path(self._team, "weather")),
        ]

    async def _manage(self) -> None:
        await self._platform.install_crd(DSC_CRD)
        await self._platform.set_state("Managed")


async def happen(changes: list[Change], rng: random.Random) -> None:
    rng.shuffle(changes)
    for change in changes:
        await change()
        await asyncio.sleep(rng.choice(PAUSES))


async def report_available(platform: Platform, address: str) -> None:
    """Report the CR that the operator makes as available."""

    async def made() -> None:
        assert await platform.mlflow() is not None

    await eventually(made)
    await platform.set_mlflow_status(address=address)


# What comes last: the collector, OpenShift, the DataScienceCluster, the ClusterRole.
@pytest.mark.parametrize("seed", range(4))
async def test_everything_may_come_and_go_in_any_order(
    agents: Agents, start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, seed: int
) -> None:
    rng = random.Random(seed)
    team = agents.namespace
    changes = Changes(platform, team)
    running = start_with_mlflow(f"--mlflow-workspace={team}")
    await running.expect_log("Caches are complete, starting the controllers")

    async with asyncio.TaskGroup() as group:
        group.create_task(report_available(platform, mlflow.url))
        group.create_task(happen(changes.arrivals, rng))
    await expect_binding(platform, team)
    # If MLflow refused the operator before the ClusterRole came, it is asked again half a minute later.
    await agents.expect_configured("weather", seconds=120)
    await expect_config(platform, "traces/mlflow", "traces/phoenix")
    experiment = await mlflow.expect_experiment(team)
    await expect_rolled(platform, await expect_headers(platform, team, experiment["experiment_id"]))

    await happen(changes.departures, rng)
    # No DataScienceCluster takes nothing away, and the configured workspace needs no agent.
    await expect_binding(platform, team)
    await expect_rolled(platform, await expect_config(platform, "traces/default"))
