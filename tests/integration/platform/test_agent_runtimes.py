"""Who labels agents where the platform's own operator does: by AgentRuntime, and nobody else."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest

from kagenti_devcluster.profiles import DEFAULT
from kagenti_devcluster.standins.platform import Options
from kagenti_devcluster.testing.platform import Platform, eventually
from kagenti_operator.contract import KAGENTI
from kagenti_operator.kube.errors import ApiError
from tests.integration.platform.conftest import running_platform
from tests.support.cluster import Cluster

LABELLING = Options(profile=replace(DEFAULT, names=KAGENTI))
NAMESPACE = "agents"
LABEL = "kagenti.io/type"
DEPLOYMENT = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/planner"
RUNTIME = f"/apis/agent.kagenti.dev/v1alpha1/namespaces/{NAMESPACE}/agentruntimes/planner"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One on which nobody else may label agents."""
    with running_platform(tmp_path_factory.mktemp("agent-runtimes"), options=LABELLING) as cluster:
        yield cluster


@pytest.fixture
def options() -> Options:
    return LABELLING


@pytest.fixture(autouse=True)
async def planner(api: Platform, stand_ins: None) -> AsyncIterator[None]:
    """A workload, and no AgentRuntime yet."""
    del stand_ins
    await api.namespace(NAMESPACE)
    await api.workload(NAMESPACE, "planner", agent=False)
    yield
    await api.delete(RUNTIME)
    await api.delete(DEPLOYMENT)


async def labels(api: Platform) -> tuple[str | None, str | None, int]:
    """The label of the workload, that of its pods, and how often the workload was changed."""
    found = await api.get(DEPLOYMENT)
    assert found is not None
    template = found["spec"]["template"]
    on_pods = template["metadata"].get("labels", {}).get(LABEL)
    return found["metadata"].get("labels", {}).get(LABEL), on_pods, found["metadata"]["generation"]


async def make_runtime(api: Platform) -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "planner"}
    runtime: dict[str, Any] = {
        "apiVersion": "agent.kagenti.dev/v1alpha1",
        "kind": "AgentRuntime",
        "metadata": {"name": "planner", "namespace": NAMESPACE},
        "spec": {"type": "agent", "targetRef": target},
    }
    await api.put(RUNTIME, runtime)


async def test_an_agent_runtime_labels_a_workload_in_one_write_and_its_end_takes_the_label(
    api: Platform,
) -> None:
    assert await labels(api) == (None, None, 1)
    await make_runtime(api)

    async def labelled() -> None:
        assert await labels(api) == ("agent", "agent", 2)

    await eventually(labelled)
    await api.delete(RUNTIME)

    async def bare() -> None:
        assert await labels(api) == (None, None, 3)

    await eventually(bare)


async def test_nobody_else_sets_the_label(api: Platform) -> None:
    refusal = "label kagenti.io/type is set by the kagenti operator alone"
    labelled = {"metadata": {"labels": {LABEL: "agent"}}}

    async def refused() -> None:
        with pytest.raises(ApiError, match=refusal):
            await api.patch(DEPLOYMENT, labelled)

    # The API server takes a new policy up within a second.
    await eventually(refused)
    with pytest.raises(ApiError, match=refusal):
        await api.patch(DEPLOYMENT, {"spec": {"template": labelled}})
    with pytest.raises(ApiError, match=refusal):
        await api.workload(NAMESPACE, "another", agent=True)


async def test_a_labelled_workload_may_be_changed_otherwise(api: Platform) -> None:
    await make_runtime(api)

    async def labelled() -> None:
        assert (await labels(api))[0] == "agent"

    await eventually(labelled)
    await api.patch(DEPLOYMENT, {"spec": {"template": {"metadata": {"annotations": {"note": "x"}}}}})
    with pytest.raises(ApiError, match="make an AgentRuntime whose targetRef is this workload"):
        await api.patch(DEPLOYMENT, {"metadata": {"labels": {LABEL: None}}})
