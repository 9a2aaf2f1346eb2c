"""Many agents at once: how many calls and rollouts are under way, and who waits for whom."""

import asyncio
from collections import Counter

from kagenti_devcluster.testing.platform import Object, Platform, always, eventually, workload_path
from kagenti_devcluster.testing.ports import free_port
from kagenti_operator.controllers.agents.controller import WORKERS as AGENT_WORKERS
from tests.support.agents import MLFLOW_ONLY, NO_LABEL, Agents, environment
from tests.support.mlflow import MLflow
from tests.support.mlflow_proxy import run_mlflow_proxy
from tests.support.operator_process import StartOperator
from tests.support.scrape import expect, wait_for_server

FLEET = {"large": 450, "medium": 48, "small": 1, "tiny": 1}
# Reasonable for a machine that others use too: MLflow answers some dozens of requests in a second.
STORM_SECONDS = 300.0


async def deployments(platform: Platform, namespace: str) -> list[Object]:
    found = await platform.request("GET", f"/apis/apps/v1/namespaces/{namespace}/deployments")
    # Items of a list do not name their kind.
    return [item | {"kind": "Deployment"} for item in found["items"]]


async def label_fleet(platform: Platform, team: str) -> None:
    turns = asyncio.Semaphore(16)

    async def make(namespace: str, number: int) -> None:
        async with turns:
            await platform.workload(namespace, f"agent-{number}")

    for suffix in FLEET:
        await platform.namespace(f"{team}-{suffix}")
    async with asyncio.TaskGroup() as group:
        for suffix, size in FLEET.items():
            for number in range(size):
                group.create_task(make(f"{team}-{suffix}", number))


async def test_500_agents_at_once_are_few_calls_at_a_time_and_fair_to_namespaces(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    async with run_mlflow_proxy(mlflow.server) as proxy:
        await platform.managed_and_ready(proxy.url)
        await platform.set_mlflow_status(available=False, address=proxy.url)
        port = free_port()
        plain = (f"--metrics-bind-address=127.0.0.1:{port}", "--metrics-secure=false")
        operator = start_with_mlflow(*plain, features=MLFLOW_ONLY)
        await wait_for_server(operator)
        await label_fleet(platform, team)
        fleet = sum(FLEET.values())
        await expect(port, "kagenti_agents", fleet, state="waiting", seconds=60)
        assert proxy.calls == []

        await platform.set_mlflow_status(address=proxy.url)
        await expect(port, "kagenti_agents", fleet, state="configured", seconds=STORM_SECONDS)
        assert 1 < proxy.peak <= AGENT_WORKERS
        # None was asked for twice, and nothing else was asked but where spans are taken.
        assert Counter(proxy.calls) == {"create": fleet, "get": fleet, "traces": 1}

        order = [
            line["namespace"].rpartition("-")[2] for line in operator.logged("Configured agent for MLflow")
        ]
        assert Counter(order) == FLEET
        # Each namespace had its turn long before the large one was through, wherever it stood in the list.
        assert order.index("small") < 40
        assert order.index("tiny") < 40
        last_of_medium = len(order) - order[::-1].index("medium")
        assert last_of_medium < 200
    for suffix in FLEET:
        for workload in await deployments(platform, f"{team}-{suffix}"):
            assert workload["metadata"]["generation"] == 2
            assert environment(workload)["MLFLOW_EXPERIMENT_NAME"] == workload["metadata"]["name"]


async def finish_rollout(platform: Platform, namespace: str, name: str) -> None:
    """Say what the deployment controller would say, were there a node for the pods."""
    path = workload_path(namespace, name)
    workload = await platform.request("GET", path)
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 1)
    status = counts | {"observedGeneration": workload["metadata"]["generation"]}
    await platform.patch(f"{path}/status", {"status": status})


async def test_no_more_agents_roll_at_once_than_are_allowed_and_namespaces_take_turns(
    agents: Agents, start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow
) -> None:
    team, small = agents.namespace, f"{agents.namespace}-small"
    await platform.namespace(small)
    await platform.managed_and_ready(mlflow.url)
    start_with_mlflow("--max-concurrent-rolls=3", features=MLFLOW_ONLY)

    async def configured() -> set[str]:
        found = [*await deployments(platform, team), *await deployments(platform, small)]
        return {w["metadata"]["name"] for w in found if "MLFLOW_EXPERIMENT_ID" in environment(w)}

    async def expect_number(number: int) -> set[str]:
        async def reached() -> set[str]:
            names = await configured()
            assert len(names) >= number
            return names

        return await eventually(reached, seconds=60)

    async def no_more() -> None:
        assert len(await configured()) == number

    for name in "abcdefgh":
        # Without a node the pods never start.
        await agents.create(name, replicas=1)
    number = 3
    rolling = await expect_number(number)
    await always(no_more, seconds=3)

    alone = Agents(platform, mlflow, small)
    await alone.create("alone", replicas=1)
    await alone.expect_granted("alone")
    finished: set[str] = set()
    while len(finished) < 8:
        one = min(rolling - finished - {"alone"})
        await finish_rollout(platform, team, one)
        finished.add(one)
        number = min(number + 1, 9)
        rolling = await expect_number(number)
        await always(no_more, seconds=0.5)
        # Five of the others were there before it.
        assert len(finished) < 3 or "alone" in rolling
    assert len(rolling) == 9


async def test_no_more_agents_roll_at_once_when_they_are_released_but_their_right_goes_at_once(
    agents: Agents, start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow
) -> None:
    names = "abcdef"
    await platform.managed_and_ready(mlflow.url)
    start_with_mlflow("--max-concurrent-rolls=3", features=MLFLOW_ONLY)
    for name in names:
        await agents.create(name)
    for name in names:
        await agents.expect_configured(name)
        # Without a node its pods never start.
        await agents.patch(name, {"spec": {"replicas": 1}})
    for name in names:
        await agents.patch(name, NO_LABEL)

    async def released() -> set[str]:
        for name in names:
            assert await agents.binding(name) is None
        found = await deployments(platform, agents.namespace)
        return {w["metadata"]["name"] for w in found if "MLFLOW_EXPERIMENT_ID" not in environment(w)}

    async def expect_number(number: int) -> set[str]:
        async def reached() -> set[str]:
            done = await released()
            assert len(done) == number
            return done

        return await eventually(reached, seconds=60)

    rolling = await expect_number(3)

    async def no_more() -> None:
        assert await released() == rolling
        for name in set(names) - rolling:
            assert await agents.role(name) is not None

    await always(no_more, seconds=3)
    # Nothing of it is left to wait for; a status that a test writes would not last until the operator looks.
    await agents.patch(min(rolling), {"spec": {"replicas": 0}})
    rolling = await expect_number(4)
    await always(no_more, seconds=2)
