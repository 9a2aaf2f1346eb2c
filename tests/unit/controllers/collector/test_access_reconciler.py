"""What is requested for a namespace's binding, seen by an API server that a test plays."""

import asyncio

import msgspec
import structlog

from kagenti_operator.contract import INTEGRATION_ROLE
from kagenti_operator.controllers.agents.facts import AgentFacts
from kagenti_operator.controllers.collector.access import AccessReconciler
from kagenti_operator.controllers.collector.access_facts import AccessFacts
from kagenti_operator.controllers.collector.experiment_record import CollectorExperiments
from kagenti_operator.controllers.collector.workspaces_in_use import WorkspacesInUse
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.objects.models import DataScienceCluster, KubeObject, MLflow, ObjectMeta
from kagenti_operator.kube.objects.rbac import RbacLabels, RbacMeta, RoleBinding, RoleRef
from kagenti_operator.runtime.control.write_backoff import LAST
from kagenti_operator.runtime.observable import Observable
from tests.support.peer import running_peer
from tests.unit.controllers.agents.workloads import build_agent
from tests.unit.controllers.dependencies import open_dependencies, put

BINDING = "/apis/rbac.authorization.k8s.io/v1/namespaces/team1/rolebindings/otel-collector-mlflow"
MANAGED = msgspec.convert(
    {
        "metadata": {"name": "default-dsc"},
        "spec": {"components": {"mlflowoperator": {"managementState": "Managed"}}},
    },
    DataScienceCluster,
)
AVAILABLE = msgspec.convert(
    {
        "metadata": {"name": "mlflow"},
        "status": {
            "conditions": [{"type": "Available", "status": "True"}],
            "url": "https://gateway.example.com/mlflow",
        },
    },
    MLflow,
)


async def test_a_namespace_that_is_deleted_and_made_again_and_again_is_granted_each_time() -> None:
    """As a CI job does it: nobody reverts anything, the binding goes with its namespace."""
    async with (
        running_peer() as peer,
        open_dependencies(Settings(enable_mlflow=True), peer.url) as dependencies,
    ):
        mlflow, access = MLflowFacts(dependencies.informers), AccessFacts(dependencies)
        agents = AgentFacts(dependencies)
        own = CollectorExperiments(dependencies.settings, access)
        reconciler = AccessReconciler(dependencies, mlflow, access, agents, own, Observable(False))
        put(mlflow.data_science_clusters, MANAGED)
        put(mlflow.mlflows, AVAILABLE)
        put(access.integration_role, KubeObject(metadata=ObjectMeta(name=INTEGRATION_ROLE)))
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


class FakeInUse(WorkspacesInUse):
    """What the collector is configured for, as a test says."""

    def __init__(self, *workspaces: str) -> None:
        self.workspaces = frozenset(workspaces)

    def find(self) -> frozenset[str]:
        return self.workspaces


async def test_the_workspace_before_loses_its_binding_only_when_the_collector_has_left_it() -> None:
    settings = Settings(enable_mlflow=True, mlflow_workspace="mistyped")
    async with running_peer() as peer, open_dependencies(settings, peer.url) as dependencies:
        mlflow, access = MLflowFacts(dependencies.informers), AccessFacts(dependencies)
        own, in_use = CollectorExperiments(settings, access), FakeInUse("team1")
        agents, gone = AgentFacts(dependencies), Observable(False)
        reconciler = AccessReconciler(dependencies, mlflow, access, agents, own, gone, in_use)
        put(mlflow.data_science_clusters, MANAGED)
        put(mlflow.mlflows, AVAILABLE)
        put(access.integration_role, KubeObject(metadata=ObjectMeta(name=INTEGRATION_ROLE)))
        labels = RbacLabels(managed_by="kagenti-operator")
        meta = RbacMeta(name="otel-collector-mlflow", namespace="team1", uid="a", labels=labels)
        put(
            access.bindings,
            RoleBinding(metadata=meta, role_ref=RoleRef(kind="ClusterRole", name=INTEGRATION_ROLE)),
        )
        assert "team1" in reconciler.namespaces_of_platform()
        await reconciler.reconcile("team1")
        assert peer.idle
        in_use.workspaces = frozenset({"mistyped"})
        assert "team1" in reconciler.namespaces_of_platform()
        revoking = asyncio.ensure_future(reconciler.reconcile("team1"))
        request = await peer.request()
        assert (request.method, request.path) == ("DELETE", BINDING)
        await request.answer(200, {"kind": "Status", "apiVersion": "v1"})
        await revoking


async def test_a_namespace_that_is_not_there_is_logged_again_when_it_was_wanted_no_more_meanwhile() -> None:
    settings = Settings(enable_mlflow=True)
    async with running_peer() as peer, open_dependencies(settings, peer.url) as dependencies:
        mlflow, access = MLflowFacts(dependencies.informers), AccessFacts(dependencies)
        agents, own = AgentFacts(dependencies), CollectorExperiments(settings, access)
        reconciler = AccessReconciler(dependencies, mlflow, access, agents, own, Observable(False))
        put(mlflow.data_science_clusters, MANAGED)
        put(mlflow.mlflows, AVAILABLE)
        put(access.integration_role, KubeObject(metadata=ObjectMeta(name=INTEGRATION_ROLE)))
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
