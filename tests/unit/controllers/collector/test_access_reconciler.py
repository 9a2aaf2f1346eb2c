"""What is requested for a namespace's binding, seen by an API server that a test plays."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
import structlog

from kagenti_operator.contract import INTEGRATION_ROLE
from kagenti_operator.controllers.agents.facts import AgentFacts
from kagenti_operator.controllers.collector.access import ABSENT_SECONDS, AccessReconciler
from kagenti_operator.controllers.collector.access_facts import AccessFacts
from kagenti_operator.controllers.collector.experiment_record import CollectorExperiments
from kagenti_operator.controllers.collector.workspaces_in_use import WorkspacesInUse
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.objects.models import DataScienceCluster, KubeObject, ObjectMeta
from kagenti_operator.kube.objects.rbac import RbacLabels, RbacMeta, RoleBinding, RoleRef
from kagenti_operator.runtime.control.applier import CONFIRM_SECONDS
from kagenti_operator.runtime.control.write_backoff import LAST
from kagenti_operator.runtime.observable import Observable
from tests.support.peer import Peer, running_peer
from tests.unit.controllers.agents.workloads import build_agent
from tests.unit.controllers.dependencies import open_dependencies, put
from tests.unit.controllers.platform import AVAILABLE, MANAGED, build_cluster

BINDING = "/apis/rbac.authorization.k8s.io/v1/namespaces/team1/rolebindings/otel-collector-mlflow"


OURS = RoleBinding(
    metadata=RbacMeta(
        name="otel-collector-mlflow",
        namespace="team1",
        uid="a",
        labels=RbacLabels(managed_by="kagenti-operator"),
    ),
    role_ref=RoleRef(kind="ClusterRole", name=INTEGRATION_ROLE),
)


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A reconciler, the API server that it asks, and the caches that it looks at."""

    peer: Peer
    mlflow: MLflowFacts
    access: AccessFacts
    agents: AgentFacts
    reconciler: AccessReconciler


@asynccontextmanager
async def opened(
    workspace: str | None = None, in_use: WorkspacesInUse | None = None
) -> AsyncGenerator[Opened]:
    """MLflow is available."""
    settings = Settings(enable_mlflow=True, mlflow_workspace=workspace)
    async with running_peer() as peer, open_dependencies(settings, peer.url) as dependencies:
        mlflow, access = MLflowFacts(dependencies.informers), AccessFacts(dependencies)
        agents, own = AgentFacts(dependencies), CollectorExperiments(settings, access)
        gone = Observable(False)
        reconciler = AccessReconciler(dependencies, mlflow, access, agents, own, gone, in_use)
        put(mlflow.mlflows, AVAILABLE)
        yield Opened(peer=peer, mlflow=mlflow, access=access, agents=agents, reconciler=reconciler)


def manage(it: Opened) -> None:
    """The component is managed, and there is a role to bind the collector to."""
    put(it.mlflow.data_science_clusters, MANAGED)
    put(it.access.integration_role, KubeObject(metadata=ObjectMeta(name=INTEGRATION_ROLE)))


@asynccontextmanager
async def managed() -> AsyncGenerator[tuple[Peer, AgentFacts, AccessReconciler]]:
    """Agents' namespaces are granted the collector's access."""
    async with opened() as it:
        manage(it)
        yield it.peer, it.agents, it.reconciler


@asynccontextmanager
async def bound() -> AsyncGenerator[tuple[Peer, MLflowFacts, AgentFacts, AccessReconciler]]:
    """Namespace team1 holds the collector's binding, and no agent that the cache knows."""
    async with opened() as it:
        put(it.access.bindings, OURS)
        yield it.peer, it.mlflow, it.agents, it.reconciler


async def test_a_namespace_that_is_deleted_and_made_again_and_again_is_granted_each_time() -> None:
    """As a CI job does it: nobody reverts anything, the binding goes with its namespace."""
    async with managed() as (peer, agents, reconciler):
        for _ in range(2 * LAST):
            put(agents.workloads["Deployment"], build_agent())
            granting = asyncio.ensure_future(reconciler.reconcile("team1"))
            request = await peer.request()
            assert (request.method, request.path) == ("PATCH", BINDING)
            await request.answer(200, msgspec.json.decode(request.body))
            await granting
            agents.workloads["Deployment"].cache.replace({})
            await reconciler.reconcile("team1")
    assert peer.idle


KINDS = ("apps/v1/%s/deployments", "apps/v1/%s/statefulsets", "agents.x-k8s.io/v1beta1/%s/sandboxes")
LABELLED = {"metadata": {"name": "weather", "namespace": "team1"}}


async def answer_no_agents(peer: Peer, *, until: int = len(KINDS)) -> None:
    """Each kind is asked for agents of the namespace."""
    for kind in KINDS[:until]:
        request = await peer.request()
        assert request.path == f"/apis/{kind % 'namespaces/team1'}"
        assert request.query["labelSelector"] == "kagenti.io/type=agent"
        await request.answer(200, {"metadata": {"resourceVersion": "9"}, "items": []})


async def test_where_the_api_server_shows_an_agent_the_collector_keeps_its_access() -> None:
    """A list of agents that was cut short says that the last one left."""
    async with bound() as (peer, mlflow, _, reconciler):
        put(mlflow.data_science_clusters, MANAGED)
        looking = asyncio.ensure_future(reconciler.reconcile("team1"))
        await answer_no_agents(peer, until=1)
        request = await peer.request()
        await request.answer(200, {"metadata": {"resourceVersion": "9"}, "items": [LABELLED]})
        assert await looking == CONFIRM_SECONDS
        assert peer.idle


@pytest.mark.parametrize(
    ("live", "revoked"),
    [
        (build_cluster("Removed"), True),
        (build_cluster("Managed"), False),
        (build_cluster("Removed", deletionTimestamp="2026-01-01T00:00:00Z"), False),
        (None, False),
    ],
)
async def test_that_mlflow_is_removed_is_asked_once_before_access_goes(
    live: dict[str, Any] | None, revoked: bool
) -> None:
    async with bound() as (peer, mlflow, agents, reconciler):
        put(mlflow.data_science_clusters, msgspec.convert(build_cluster("Removed"), DataScienceCluster))
        put(agents.workloads["Deployment"], build_agent())
        looking = asyncio.ensure_future(reconciler.reconcile("team1"))
        request = await peer.request()
        assert request.path == "/apis/datasciencecluster.opendatahub.io/v2/datascienceclusters"
        await request.answer(200, {"metadata": {"resourceVersion": "9"}, "items": [live] if live else []})
        if revoked:
            await answer_deletion(peer)
        assert await looking == (None if revoked else CONFIRM_SECONDS)
        if revoked:
            again = asyncio.ensure_future(reconciler.reconcile("team1"))
            await answer_deletion(peer)
            await again
        assert peer.idle


async def answer_deletion(peer: Peer) -> None:
    request = await peer.request()
    assert (request.method, request.path) == ("DELETE", BINDING)
    await request.answer(200, {"kind": "Status", "apiVersion": "v1"})


async def test_a_namespace_of_agents_that_is_said_not_to_exist_is_granted_a_little_later() -> None:
    """An API server that is starting answers so as well, and no event would come."""
    async with managed() as (peer, agents, reconciler):
        put(agents.workloads["Deployment"], build_agent())
        granting = asyncio.ensure_future(reconciler.reconcile("team1"))
        await (await peer.request()).refuse(404, "NotFound")
        assert await granting == ABSENT_SECONDS
        agents.workloads["Deployment"].cache.replace({})
        assert await reconciler.reconcile("team1") is None


class FakeInUse(WorkspacesInUse):
    """What the collector is configured for, as a test says."""

    def __init__(self, *workspaces: str) -> None:
        self.workspaces = frozenset(workspaces)

    def find(self) -> frozenset[str]:
        return self.workspaces


async def test_the_workspace_before_loses_its_binding_only_when_the_collector_has_left_it() -> None:
    in_use = FakeInUse("team1")
    async with opened("mistyped", in_use) as it:
        manage(it)
        put(it.access.bindings, OURS)
        peer, reconciler = it.peer, it.reconciler
        assert "team1" in reconciler.namespaces_of_platform()
        await reconciler.reconcile("team1")
        assert peer.idle
        in_use.workspaces = frozenset({"mistyped"})
        assert "team1" in reconciler.namespaces_of_platform()
        revoking = asyncio.ensure_future(reconciler.reconcile("team1"))
        await answer_no_agents(peer)
        await answer_deletion(peer)
        await revoking


async def test_a_namespace_that_is_not_there_is_logged_again_when_it_was_wanted_no_more_meanwhile() -> None:
    async with managed() as (peer, agents, reconciler):
        with structlog.testing.capture_logs() as lines:
            for _ in range(2):
                put(agents.workloads["Deployment"], build_agent())
                granting = asyncio.ensure_future(reconciler.reconcile("team1"))
                request = await peer.request()
                await request.answer(404, {"kind": "Status", "reason": "NotFound", "code": 404})
                await granting
                agents.workloads["Deployment"].cache.replace({})
                await reconciler.reconcile("team1")
    said = [line["event"] for line in lines if line.get("namespace") == "team1"]
    assert said == ["Namespace does not exist or is going away, no access granted"] * 2
