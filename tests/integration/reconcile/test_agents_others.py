"""What others do to agents, their grants and their pod templates."""

import asyncio

from kagenti_devcluster.testing.platform import Platform, always, eventually, workload_path
from tests.support.agents import (
    MLFLOW_ONLY,
    environment,
    expect_configured,
    expect_granted,
    expect_no_grant,
    expect_released,
    role_path,
)
from tests.support.mlflow import MLflow
from tests.support.operator_process import StartOperator

OPTED_OUT = {"metadata": {"annotations": {"mlflow.kagenti.io/inject": "disabled"}}}
NO_LABEL = {"metadata": {"labels": {"kagenti.io/type": None}}}
BARE = {"spec": {"template": {"spec": {"containers": [{"name": "weather", "image": "example.org/agent:1"}]}}}}


async def test_who_takes_the_environment_out_each_time_is_told_and_not_fought_for_ever(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.managed_and_ready(mlflow.url)
    operator = start_with_mlflow(features=MLFLOW_ONLY)
    await platform.workload(team, "weather")

    async def take_out_again_and_again() -> None:
        while True:
            found = await platform.request("GET", workload_path(team, "weather"))
            if environment(found):
                await platform.patch(workload_path(team, "weather"), BARE)
            await asyncio.sleep(0.05)

    async def told() -> None:
        assert not fight.done(), fight.exception()
        events = await platform.events(team, "weather")
        assert "MLflowConfigurationUndone" in [event["reason"] for event in events]

    async def rests() -> None:
        assert not fight.done(), fight.exception()
        assert len(operator.logged("Configured agent for MLflow")) == 3

    fight = asyncio.create_task(take_out_again_and_again())
    try:
        await eventually(told)
        await always(rests, seconds=5)
    finally:
        fight.cancel()
        await asyncio.gather(fight, return_exceptions=True)
    await expect_configured(platform, mlflow, team, "weather", seconds=30)


async def test_a_rollback_of_an_agent_that_opted_out_does_not_bring_the_environment_back(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.managed_and_ready(mlflow.url)
    operator = start_with_mlflow(features=MLFLOW_ONLY)
    await platform.workload(team, "weather")
    configured = await expect_configured(platform, mlflow, team, "weather")
    await platform.patch(workload_path(team, "weather"), OPTED_OUT)
    await expect_released(platform, team, "weather")
    # As `kubectl rollout undo` does, which then owns all of the template.
    template = {"spec": {"template": configured["spec"]["template"]}}
    assert environment(await platform.patch(workload_path(team, "weather"), template))
    await expect_released(platform, team, "weather")

    async def released_twice() -> None:
        assert len(operator.logged("Released workload from MLflow")) == 2

    await eventually(released_twice)
    await always(released_twice, seconds=3)


async def test_an_agent_deleted_without_its_dependents_while_the_operator_is_away_leaves_no_right(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.managed_and_ready(mlflow.url)
    first = start_with_mlflow(features=MLFLOW_ONLY)
    await platform.workload(team, "weather")
    await expect_configured(platform, mlflow, team, "weather")
    first.stop()
    await platform.request("DELETE", workload_path(team, "weather"), {"propagationPolicy": "Orphan"})

    async def orphaned() -> None:
        assert await platform.get(workload_path(team, "weather")) is None
        role = await platform.request("GET", role_path(team, "weather"))
        assert not role["metadata"].get("ownerReferences")

    await eventually(orphaned)
    start_with_mlflow(features=MLFLOW_ONLY)
    await expect_no_grant(platform, team, "weather")


async def test_a_twin_that_is_not_known_yet_keeps_no_right_for_the_one_that_is_released(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.managed_and_ready(mlflow.url)
    start_with_mlflow(features=MLFLOW_ONLY)
    await platform.workload(team, "weather", pod={"serviceAccountName": "one"})
    await expect_configured(platform, mlflow, team, "weather")
    await platform.set_mlflow_status(available=False, address=mlflow.url)
    await platform.workload(team, "weather", kind="StatefulSet", pod={"serviceAccountName": "two"})
    await platform.patch(workload_path(team, "weather"), NO_LABEL)
    await expect_no_grant(platform, team, "weather")
    await platform.set_mlflow_status(available=True, address=mlflow.url)
    await expect_granted(platform, team, "weather", "weather", "two")


async def test_an_owner_that_somebody_adds_to_a_grant_is_no_reason_to_write(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, team: str
) -> None:
    await platform.managed_and_ready(mlflow.url)
    operator = start_with_mlflow(features=MLFLOW_ONLY)
    await platform.workload(team, "weather")
    await expect_configured(platform, mlflow, team, "weather")
    parent = await platform.config_map(team, "parent", {})
    added = {"apiVersion": "v1", "kind": "ConfigMap", "name": "parent", "uid": parent["metadata"]["uid"]}
    role = await platform.request("GET", role_path(team, "weather"))
    applied = len(operator.logged("Applied"))
    owners = [*role["metadata"]["ownerReferences"], added]
    await platform.patch(role_path(team, "weather"), {"metadata": {"ownerReferences": owners}})

    async def left_alone() -> None:
        role = await platform.request("GET", role_path(team, "weather"))
        assert role["metadata"]["ownerReferences"] == owners
        assert len(operator.logged("Applied")) == applied

    await always(left_alone, seconds=4)
