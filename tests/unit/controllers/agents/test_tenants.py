"""What one tenant can cost the API server, MLflow, and the agents of everybody else."""

import pytest

from kagenti_operator import clock
from kagenti_operator.kube.resources import AGENT_DEPLOYMENTS
from kagenti_operator.runtime.control.request_budget import PER_SECOND
from tests.support.virtual_time import advance

from .tenants import running_cluster

pytestmark = pytest.mark.virtual_time

FLAPS_PER_SECOND = 90
SECONDS = 20


@pytest.mark.parametrize("workloads", [1, 30, 300])
async def test_labels_that_flap_90_times_a_second_cost_at_most_20_requests_a_second(workloads: int) -> None:
    async with running_cluster() as (cluster, requests):
        names = [f"flapping-{number}" for number in range(workloads)]
        paths = [AGENT_DEPLOYMENTS.path("team1", name) for name in names]
        for name in names:
            cluster.api.make("team1", name)
        await advance(10)
        present, began = dict.fromkeys(paths, True), 0.0
        for flap in range(FLAPS_PER_SECOND * 2 * SECONDS):
            path = paths[flap % workloads]
            present[path] = not present[path]
            cluster.api.set_label(path, present=present[path])
            await advance(1 / FLAPS_PER_SECOND)
            if flap == FLAPS_PER_SECOND * SECONDS:
                began = clock.monotonic()
        rate = requests.since(began) / (clock.monotonic() - began)
        assert 0.5 < rate <= 20
        # Meanwhile an agent of another team has everything at once,
        cluster.api.make("team2", "quiet")
        await advance(0.1)
        assert ("team2", "quiet") in cluster.api.configured_at
        # and so has a new one of the same team.
        cluster.api.make("team1", "new")
        await advance(0.1)
        assert ("team1", "new") in cluster.api.configured_at
        # What is left in the end is what holds.
        cluster.api.configured_at.clear()
        for path in paths:
            cluster.api.set_label(path, present=False)
        await advance(60)
        for path in paths:
            cluster.api.set_label(path, present=True)
        await advance(30 + workloads * 6 / PER_SECOND)
        assert {("team1", name) for name in names} == cluster.api.configured_at.keys()


async def test_300_agents_of_one_namespace_that_come_at_once_wait_for_nothing() -> None:
    async with running_cluster() as (cluster, _):
        for number in range(300):
            cluster.api.make("team1", f"agent-{number}")
        await advance(1)
        assert len(cluster.api.configured_at) == 300


async def test_a_slow_workspace_does_not_hold_up_the_agent_of_another_namespace() -> None:
    async with running_cluster() as (cluster, _):
        cluster.mlflow.seconds = {"slow": 28.0}
        for number in range(100):
            cluster.api.make("slow", f"agent-{number}")
        await advance(1)
        began = clock.monotonic()
        cluster.api.make("other", "agent")
        await advance(10)
        assert cluster.api.configured_at["other", "agent"] - began <= 10


async def test_seven_slow_workspaces_hold_up_no_agent_of_an_eighth_and_have_their_turns() -> None:
    """They have all workers at first, and gave way; later six of the eight."""
    async with running_cluster() as (cluster, _):
        slow = [f"slow-{number}" for number in range(7)]
        cluster.mlflow.seconds = dict.fromkeys(slow, 28.0)
        for namespace in slow:
            for number in range(20):
                cluster.api.make(namespace, f"agent-{number}")
        await advance(1)
        for number in range(30):
            began = clock.monotonic()
            cluster.api.make("healthy", f"agent-{number}")
            await advance(10)
            assert cluster.api.configured_at["healthy", f"agent-{number}"] - began <= 5
        # Six at a time in 28 s each.
        await advance(100)
        configured = [namespace for namespace, _ in cluster.api.configured_at if namespace in slow]
        assert len(configured) >= 6 * (400 // 28 - 2)
        assert {*configured} == {*slow}
        # Who answers in time is slow no longer, and nobody has been left behind.
        cluster.mlflow.seconds = {}
        await advance(120)
        assert len(cluster.api.configured_at) == 7 * 20 + 30
