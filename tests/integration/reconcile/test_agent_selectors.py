"""Agents that carry other labels than the platform's, on a real API server with a real MLflow."""

from collections.abc import AsyncIterator, Mapping

import pytest

from kagenti_devcluster.testing.platform import SYSTEM, Platform, always, eventually
from kagenti_devcluster.testing.ports import free_port
from tests.integration.reconcile.test_sandboxes import build_crd, put_sandbox, sandbox_path
from tests.support.agents import MLFLOW_ONLY, Agents
from tests.support.collector import expect_binding, expect_no_binding
from tests.support.expectations import ask_ready, expect_event
from tests.support.mlflow import MLflow
from tests.support.operator_process import OperatorProcess, StartOperator

OPENSHELL = "openshell.ai/managed-by=openshell"
VERSION = "v1beta1"


@pytest.fixture
async def platform(platform: Platform) -> AsyncIterator[Platform]:
    await platform.install_crd(build_crd(VERSION))
    yield platform
    await platform.remove_crd(build_crd(VERSION))


@pytest.fixture
async def operator(start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow) -> OperatorProcess:
    """The operator with two further selectors, one of them set-based."""
    await platform.managed_and_ready(mlflow.url)
    selectors = (f"--agent-selector={OPENSHELL}", "--agent-selector=role in (agent, bot), !private")
    return start_with_mlflow(*selectors, features=MLFLOW_ONLY)


@pytest.mark.usefixtures("operator")
async def test_sandboxes_of_openshell_are_agents(agents: Agents, platform: Platform) -> None:
    team = agents.namespace
    path = sandbox_path(team, "coder", VERSION)
    await put_sandbox(platform, team, "coder", VERSION)
    labels = {"kagenti.io/type": None, "openshell.ai/managed-by": "openshell"}
    await platform.patch(path, {"metadata": {"labels": labels}})
    await agents.expect_configured("coder", path=path)
    await agents.expect_granted("coder", account="coder-sa")
    await expect_binding(platform, team)
    # Without any of the labels it is none.
    await platform.patch(path, {"metadata": {"labels": {"openshell.ai/managed-by": None}}})
    await agents.expect_released("coder", path=path)
    await expect_no_binding(platform, team)


async def test_an_agent_that_changes_its_labels_is_rolled_once_for_all_of_them(
    agents: Agents, operator: OperatorProcess, platform: Platform
) -> None:
    await agents.create_configured("weather")
    configured = await agents.get("weather")

    async def relabel(labels: Mapping[str, str | None]) -> None:
        await platform.patch(agents.path("weather"), {"metadata": {"labels": labels}})

    await relabel({"role": "agent"})
    # One label goes, the other stays; then from one to another in one change, and back.
    await relabel({"kagenti.io/type": None})
    await relabel({"role": None, "openshell.ai/managed-by": "openshell"})
    await relabel({"role": "bot", "openshell.ai/managed-by": None})
    await relabel({"role": None, "kagenti.io/type": "agent"})

    async def untouched() -> None:
        now = await agents.get("weather")
        assert now["metadata"]["generation"] == configured["metadata"]["generation"]
        assert len(operator.logged("Configured agent for MLflow")) == 1
        assert operator.logged("Released workload from MLflow") == []

    await always(untouched, seconds=4)
    # Selected by none: the second selector wants no label of that name.
    await relabel({"kagenti.io/type": None, "role": "bot", "private": "yes"})
    await agents.expect_released("weather")

    async def forgotten() -> None:
        assert len(operator.logged("Released workload from MLflow")) == 1

    await eventually(forgotten)


async def test_agents_with_another_label_are_reported_until_there_is_one_that_is_served(
    start_with_mlflow: StartOperator, platform: Platform, mlflow: MLflow, agents: Agents
) -> None:
    await platform.managed_and_ready(mlflow.url)
    await platform.workload(SYSTEM, "kagenti-controller-manager", agent=False)
    for name in ("coder", "planner"):
        await put_sandbox(platform, agents.namespace, name, VERSION)
        labels = {"kagenti.io/type": None, "openshell.ai/managed-by": "openshell"}
        path = sandbox_path(agents.namespace, name, VERSION)
        await platform.patch(path, {"metadata": {"labels": labels}})
    port = free_port()
    start_with_mlflow(f"--health-probe-bind-address=127.0.0.1:{port}", features=MLFLOW_ONLY)
    words = (f"2 with {OPENSHELL}", f"--agent-selector={OPENSHELL}")
    await expect_event(platform, SYSTEM, "kagenti-controller-manager", "AgentsWithOtherLabels", *words)
    status, text = await ask_ready(port)
    assert status == 200
    assert all(word in text for word in words)
    await agents.create_configured("weather")
    await expect_event(platform, SYSTEM, "kagenti-controller-manager", "AgentsWithOtherLabelsResolved")
    assert await ask_ready(port) == (200, "ok")
