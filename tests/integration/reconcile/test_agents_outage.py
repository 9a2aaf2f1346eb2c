"""MLflow goes, for a while or with everything it knew, and comes back."""

import asyncio

import pytest

from kagenti_devcluster.testing.mlflow_server import MLflowServer
from kagenti_devcluster.testing.platform import MLFLOWS, Object, Platform, always, eventually
from tests.support.agents import MLFLOW_ONLY, NO_LABEL, Agents, environment
from tests.support.expectations import expect_event, expect_unchanged
from tests.support.mlflow import MLflow
from tests.support.operator_process import OperatorProcess, StartOperator

# More than MLflow is asked for at once.
LATE = tuple(f"late-{number}" for number in range(20))
# An agent that was tried for long is tried once in a minute.
BACK_SECONDS = 180.0


async def settled(agents: Agents, name: str) -> Object:
    """The workload, once the deployment controller has observed its last change."""

    async def seen() -> Object:
        found = await agents.get(name)
        assert found["status"].get("observedGeneration") == found["metadata"]["generation"]
        return found

    return await eventually(seen)


async def test_nothing_is_lost_and_nobody_is_rolled_while_mlflow_is_away(
    agents: Agents,
    operator: OperatorProcess,
    start_with_mlflow: StartOperator,
    platform: Platform,
    mlflow_server: MLflowServer,
) -> None:
    for name in ("weather", "leaver"):
        await agents.create_configured(name)
    await asyncio.to_thread(mlflow_server.stop)
    try:
        for name in LATE:
            await agents.create(name)
        for name in LATE:
            await expect_event(platform, agents.namespace, name, "ExperimentNotAvailable")

        # What needs no MLflow goes on, however many wait for it.
        await agents.patch("leaver", NO_LABEL)
        await agents.expect_released("leaver")
        await agents.patch_pod("weather", serviceAccountName="second")
        await agents.expect_granted("weather", account="second")
        operator.stop()
        await agents.patch_pod("weather", serviceAccountName="third")
        start_with_mlflow(features=MLFLOW_ONLY)
        await agents.expect_granted("weather", account="third")
        before = await settled(agents, "weather")
        # It is polled several times in this while.
        await expect_unchanged(platform, agents.path("weather"), before, seconds=25)
    finally:
        await asyncio.to_thread(mlflow_server.start_again)
    for name in LATE:
        await agents.expect_configured(name, seconds=BACK_SECONDS)
    await expect_unchanged(platform, agents.path("weather"), before, seconds=3)
    reasons = {e["reason"] for e in await platform.events(agents.namespace, "weather")}
    assert "ExperimentNotAvailable" not in reasons


@pytest.mark.usefixtures("operator")
async def test_grants_follow_accounts_while_mlflow_says_that_it_is_not_available(
    agents: Agents, platform: Platform, mlflow: MLflow
) -> None:
    await agents.create_configured("weather")
    await platform.set_mlflow_status(available=False, address=mlflow.url)
    await agents.create("late")
    await agents.patch_pod("weather", serviceAccountName="second")
    await agents.expect_granted("weather", account="second")

    async def not_yet() -> None:
        assert not environment(await agents.get("late"))
        assert await agents.role("late") is None

    await always(not_yet, seconds=2)
    await platform.set_mlflow_status(address=mlflow.url)
    await agents.expect_configured("late")


@pytest.mark.usefixtures("operator")
async def test_with_mlflows_data_gone_agents_get_new_experiments(
    agents: Agents, mlflow_server: MLflowServer
) -> None:
    generations: dict[str, int] = {}
    for name in ("weather", "news"):
        configured = await agents.create_configured(name)
        generations[name] = configured["metadata"]["generation"]
    await asyncio.to_thread(mlflow_server.stop)
    mlflow_server.lose_data()
    await asyncio.to_thread(mlflow_server.start_again)
    for name, generation in generations.items():
        configured = await agents.expect_configured(name, seconds=BACK_SECONDS)
        # Not at all where it happens to have the same id as before.
        assert configured["metadata"]["generation"] <= generation + 1
        await agents.expect_granted(name)


async def test_an_experiment_that_was_renamed_to_another_agents_name_stays_its_own_agents(
    agents: Agents, operator: OperatorProcess, start_with_mlflow: StartOperator, mlflow: MLflow
) -> None:
    """Given up, it would be the other agent's for the asking, with all traces in it."""
    ids: dict[str, str] = {}
    for name in ("weather", "news"):
        configured = await agents.create_configured(name)
        ids[name] = environment(configured)["MLFLOW_EXPERIMENT_ID"] or ""
    operator.stop()
    await mlflow.rename(agents.namespace, ids["weather"], "moved")
    await mlflow.rename(agents.namespace, ids["news"], "weather")
    start_with_mlflow(features=MLFLOW_ONLY)
    for name, renamed in (("news", "weather"), ("weather", "moved")):
        configured = await agents.expect_configured(name, experiment=renamed)
        assert environment(configured)["MLFLOW_EXPERIMENT_ID"] == ids[name]


async def test_in_another_database_an_id_that_is_a_strangers_is_granted_to_nobody(
    agents: Agents,
    operator: OperatorProcess,
    start_with_mlflow: StartOperator,
    mlflow: MLflow,
    mlflow_server: MLflowServer,
) -> None:
    """What a restarted operator remembers of an experiment is its id and when it was created."""
    before = environment(await agents.create_configured("weather"))["MLFLOW_EXPERIMENT_ID"] or ""
    operator.stop()
    await asyncio.to_thread(mlflow_server.stop)
    mlflow_server.lose_data()
    await asyncio.to_thread(mlflow_server.start_again)
    strangers: set[str] = set()
    while before not in strangers:
        name = f"somebodys-{len(strangers)}"
        made = await mlflow.call("POST", "create", agents.namespace, {"name": name})
        assert int(made["experiment_id"]) <= int(before)
        strangers.add(made["experiment_id"])
    start_with_mlflow(features=MLFLOW_ONLY)
    after = environment(await agents.expect_configured("weather"))
    assert after["MLFLOW_EXPERIMENT_ID"] not in strangers
    await agents.expect_granted("weather", ["weather"])


async def test_an_mlflow_that_is_made_anew_at_its_address_gives_new_ids_without_waiting_for_the_poll(
    agents: Agents,
    start_with_mlflow: StartOperator,
    platform: Platform,
    mlflow: MLflow,
    mlflow_server: MLflowServer,
) -> None:
    await platform.managed_and_ready(mlflow.url)
    start_with_mlflow("--mlflow-poll-interval=3600", features=MLFLOW_ONLY)
    await agents.create_configured("weather")
    role = await agents.expect_granted("weather")
    before = role["metadata"]["annotations"]["mlflow.kagenti.io/experiment-creation-time"]
    await platform.delete(f"{MLFLOWS}/mlflows/mlflow")
    await asyncio.to_thread(mlflow_server.stop)
    mlflow_server.lose_data()
    await asyncio.to_thread(mlflow_server.start_again)
    # Another one had its first id.
    await mlflow.call("POST", "create", agents.namespace, {"name": "somebodys"})
    await platform.managed_and_ready(mlflow.url)
    await agents.expect_configured("weather")

    async def another() -> None:
        role = await agents.expect_granted("weather")
        assert role["metadata"]["annotations"]["mlflow.kagenti.io/experiment-creation-time"] > before

    await eventually(another)
