"""MLflow goes, for a while or with everything it knew, and comes back."""

import asyncio

from kagenti_devcluster.testing.mlflow_server import MLflowServer
from kagenti_devcluster.testing.platform import Object, Platform, always, eventually, workload_path
from tests.support.agents import (
    MLFLOW_ONLY,
    environment,
    expect_configured,
    expect_granted,
    expect_released,
    role_path,
)
from tests.support.mlflow import MLflow
from tests.support.operator_process import StartOperator

# More than MLflow is asked for at once.
LATE = tuple(f"late-{number}" for number in range(20))
# An agent that was tried for long is tried once in a minute.
BACK_SECONDS = 120.0


async def settled(platform: Platform, namespace: str, name: str) -> Object:
    """The workload, once the deployment controller has nothing more to say about it."""

    async def seen() -> Object:
        found = await platform.request("GET", workload_path(namespace, name))
        assert found["status"].get("observedGeneration") == found["metadata"]["generation"]
        return found

    return await eventually(seen)


async def change_account(platform: Platform, namespace: str, name: str, account: str) -> None:
    template = {"spec": {"serviceAccountName": account}}
    await platform.patch(workload_path(namespace, name), {"spec": {"template": template}})


async def test_nothing_is_lost_and_nobody_is_rolled_while_mlflow_is_away(
    start_with_mlflow: StartOperator,
    platform: Platform,
    mlflow: MLflow,
    mlflow_server: MLflowServer,
    team: str,
) -> None:
    await platform.managed_and_ready(mlflow.url)
    operator = start_with_mlflow(features=MLFLOW_ONLY)
    for name in ("weather", "leaver"):
        await platform.workload(team, name)
        await expect_configured(platform, mlflow, team, name)
    await asyncio.to_thread(mlflow_server.stop)
    try:
        for name in LATE:
            await platform.workload(team, name)

        async def told() -> None:
            for name in LATE:
                reasons = {e["reason"] for e in await platform.events(team, name)}
                assert "ExperimentNotAvailable" in reasons

        await eventually(told, seconds=60)

        # What needs no MLflow goes on, however many wait for it.
        await platform.patch(
            workload_path(team, "leaver"), {"metadata": {"labels": {"kagenti.io/type": None}}}
        )
        await expect_released(platform, team, "leaver")
        await change_account(platform, team, "weather", "second")
        await expect_granted(platform, team, "weather", "weather", "second")
        operator.stop()
        await change_account(platform, team, "weather", "third")
        start_with_mlflow(features=MLFLOW_ONLY)
        await expect_granted(platform, team, "weather", "weather", "third")
        before = await settled(platform, team, "weather")

        async def untouched() -> None:
            now = await platform.request("GET", workload_path(team, "weather"))
            assert now["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]

        # It is polled several times in this while.
        await always(untouched, seconds=25)
    finally:
        await asyncio.to_thread(mlflow_server.start_again)
    for name in LATE:
        await expect_configured(platform, mlflow, team, name, seconds=BACK_SECONDS)
    await always(untouched, seconds=3)
    reasons = {e["reason"] for e in await platform.events(team, "weather")}
    assert "ExperimentNotAvailable" not in reasons


async def test_grants_follow_accounts_while_mlflow_says_that_it_is_not_available(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.managed_and_ready(mlflow.url)
    start_with_mlflow(features=MLFLOW_ONLY)
    await platform.workload(team, "weather")
    await expect_configured(platform, mlflow, team, "weather")
    await platform.set_mlflow_status(available=False, address=mlflow.url)
    await platform.workload(team, "late")
    await change_account(platform, team, "weather", "second")
    await expect_granted(platform, team, "weather", "weather", "second")

    async def not_yet() -> None:
        assert not environment(await platform.request("GET", workload_path(team, "late")))
        assert await platform.get(role_path(team, "late")) is None

    await always(not_yet, seconds=2)
    await platform.set_mlflow_status(address=mlflow.url)
    await expect_configured(platform, mlflow, team, "late")


async def test_with_mlflows_data_gone_agents_get_new_experiments(
    start_with_mlflow: StartOperator,
    platform: Platform,
    mlflow: MLflow,
    mlflow_server: MLflowServer,
    team: str,
) -> None:
    await platform.managed_and_ready(mlflow.url)
    start_with_mlflow(features=MLFLOW_ONLY)
    generations: dict[str, int] = {}
    for name in ("weather", "news"):
        await platform.workload(team, name)
        configured = await expect_configured(platform, mlflow, team, name)
        generations[name] = configured["metadata"]["generation"]
    await asyncio.to_thread(mlflow_server.stop)
    mlflow_server.lose_data()
    await asyncio.to_thread(mlflow_server.start_again)
    for name, generation in generations.items():
        configured = await expect_configured(platform, mlflow, team, name, seconds=BACK_SECONDS)
        # Not at all where it happens to have the same id as before.
        assert configured["metadata"]["generation"] <= generation + 1
        await expect_granted(platform, team, name, name, "default")


async def test_an_experiment_that_bears_another_agents_name_is_not_taken_for_ones_own(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    """In a new database ids begin anew: what an agent remembers is soon the id of somebody else's."""
    await platform.managed_and_ready(mlflow.url)
    operator = start_with_mlflow(features=MLFLOW_ONLY)
    ids: dict[str, str] = {}
    for name in ("weather", "news"):
        await platform.workload(team, name)
        configured = await expect_configured(platform, mlflow, team, name)
        ids[name] = environment(configured)["MLFLOW_EXPERIMENT_ID"] or ""
    operator.stop()
    await mlflow.rename(team, ids["weather"], "moved")
    await mlflow.rename(team, ids["news"], "weather")
    start_with_mlflow(features=MLFLOW_ONLY)
    await expect_configured(platform, mlflow, team, "news")
    found = await mlflow.experiment(team, "news")
    assert found is not None
    assert found["experiment_id"] not in ids.values()
    await expect_configured(platform, mlflow, team, "weather", experiment="moved")
