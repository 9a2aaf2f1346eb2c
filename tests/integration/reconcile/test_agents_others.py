"""What others do to agents, their grants and their pod templates."""

import asyncio

import pytest

from kagenti_devcluster.testing.platform import Platform, always, eventually
from tests.support.agents import MLFLOW_ONLY, NO_LABEL, OPT_OUT, Agents, environment
from tests.support.expectations import expect_event
from tests.support.mlflow import MLflow
from tests.support.operator_process import OperatorProcess, StartOperator


async def test_a_controller_that_keeps_removing_the_environment_is_reported_and_not_fought_for_ever(
    agents: Agents, operator: OperatorProcess, platform: Platform
) -> None:
    await agents.create("weather")

    async def keep_removing() -> None:
        while True:
            if environment(await agents.get("weather")):
                await agents.patch_pod(
                    "weather", containers=[{"name": "weather", "image": "example.org/agent:1"}]
                )
            await asyncio.sleep(0.05)

    async def rests() -> None:
        assert not fight.done(), fight.exception()
        assert len(operator.logged("Configured agent for MLflow")) == 3

    fight = asyncio.create_task(keep_removing())
    try:
        await expect_event(platform, agents.namespace, "weather", "MLflowConfigurationUndone")
        await always(rests, seconds=5)
    finally:
        fight.cancel()
        await asyncio.gather(fight, return_exceptions=True)
    await agents.expect_configured("weather")


async def test_a_rollback_of_an_agent_that_opted_out_does_not_bring_the_environment_back(
    agents: Agents, operator: OperatorProcess
) -> None:
    configured = await agents.create_configured("weather")
    await agents.patch("weather", OPT_OUT)
    await agents.expect_released("weather")
    # As `kubectl rollout undo` does, which then owns all of the template.
    assert environment(await agents.patch("weather", {"spec": {"template": configured["spec"]["template"]}}))
    await agents.expect_released("weather")

    async def released_twice() -> None:
        assert len(operator.logged("Released workload from MLflow")) == 2

    await eventually(released_twice)
    await always(released_twice, seconds=3)


async def test_an_agent_deleted_without_its_dependents_while_the_operator_is_down_leaves_no_right(
    agents: Agents, operator: OperatorProcess, start_with_mlflow: StartOperator, platform: Platform
) -> None:
    await agents.create_configured("weather")
    operator.stop()
    await platform.request("DELETE", agents.path("weather"), {"propagationPolicy": "Orphan"})

    async def orphaned() -> None:
        assert await platform.get(agents.path("weather")) is None
        role = await platform.request("GET", agents.role_path("weather"))
        assert not role["metadata"].get("ownerReferences")

    await eventually(orphaned)
    start_with_mlflow(features=MLFLOW_ONLY)
    await agents.expect_no_grant("weather")


@pytest.mark.usefixtures("operator")
async def test_a_twin_that_is_not_known_yet_keeps_no_right_for_the_one_that_is_released(
    agents: Agents, platform: Platform, mlflow: MLflow
) -> None:
    await agents.create_configured("weather", pod={"serviceAccountName": "one"})
    await platform.set_mlflow_status(available=False, address=mlflow.url)
    await agents.create("weather", kind="StatefulSet", pod={"serviceAccountName": "two"})
    await agents.patch("weather", NO_LABEL)
    await agents.expect_no_grant("weather")
    await platform.set_mlflow_status(available=True, address=mlflow.url)
    await agents.expect_granted("weather", account="two")


async def test_an_owner_that_somebody_adds_to_a_grant_is_no_reason_to_write(
    agents: Agents, operator: OperatorProcess, platform: Platform
) -> None:
    await agents.create_configured("weather")
    parent = await platform.config_map(agents.namespace, "parent", {})
    added = {"apiVersion": "v1", "kind": "ConfigMap", "name": "parent", "uid": parent["metadata"]["uid"]}
    path = agents.role_path("weather")
    role = await platform.request("GET", path)
    applied = len(operator.logged("Applied"))
    owners = [*role["metadata"]["ownerReferences"], added]
    await platform.patch(path, {"metadata": {"ownerReferences": owners}})

    async def left_alone() -> None:
        role = await platform.request("GET", path)
        assert role["metadata"]["ownerReferences"] == owners
        assert len(operator.logged("Applied")) == applied

    await always(left_alone, seconds=4)
