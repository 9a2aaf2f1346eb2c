"""The controllers that work for tenants, between an API server and an MLflow that answer and keep count."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import msgspec

from kagenti_operator import clock
from kagenti_operator.contract import INTEGRATION_ROLE
from kagenti_operator.controllers.agents import controller as agents_controller
from kagenti_operator.controllers.agents.facts import AgentFacts
from kagenti_operator.controllers.agents.tracking_endpoint import Endpoint
from kagenti_operator.controllers.collector import access as access_controller
from kagenti_operator.controllers.collector.access_facts import AccessFacts
from kagenti_operator.controllers.collector.experiment_record import CollectorExperiments
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.mlflow.facts import MLflowFacts
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.client import PAGE_SIZE, KubeClient
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.kube.objects.models import KubeObject, ObjectMeta
from kagenti_operator.kube.resources import AGENT_DEPLOYMENTS, ROLE_BINDINGS, ROLES, Resource
from kagenti_operator.kube.watch import ListPage
from kagenti_operator.mlflow.client import Experiment, MLflowClient
from kagenti_operator.requests_sent import count_request
from kagenti_operator.runtime.cache.object_cache import key_of
from kagenti_operator.runtime.observable import Observable
from tests.unit.controllers.dependencies import open_dependencies, put
from tests.unit.controllers.platform import AVAILABLE, MANAGED

from .workloads import INJECTION

type Object = dict[str, Any]


class Requests:
    """When there were which, by the loop's time."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def note(self) -> None:
        count_request()
        self.times.append(clock.monotonic())

    def since(self, moment: float) -> int:
        return sum(time >= moment for time in self.times)


class StandInMLflow(MLflowClient):
    """Takes as long as a workspace is slow, and makes every experiment that is asked for."""

    def __init__(self, requests: Requests) -> None:
        self.seconds: Mapping[str, float] = {}
        self._requests = requests

    async def ensure_experiment(self, base_url: str, workspace: str | None, name: str) -> Experiment:
        del base_url
        self._requests.note()
        await asyncio.sleep(self.seconds.get(workspace or "", 0.0))
        self._requests.note()
        return Experiment(id=f"id-{workspace}-{name}", name=name, creation_time=1)

    async def get_experiment(
        self, base_url: str, workspace: str | None, experiment_id: str
    ) -> Experiment | None:
        del base_url, workspace, experiment_id
        self._requests.note()
        return None

    async def close(self) -> None:
        pass


class StandInApi(KubeClient):
    """Keeps workloads, Roles and RoleBindings, and shows each change to the caches."""

    def __init__(self, requests: Requests) -> None:
        self.configured_at: dict[tuple[str, str], float] = {}
        self.caches: Mapping[str, list[Any]] = {}
        self.labelled: set[str] = set()
        self._requests = requests
        self._objects: dict[str, Object] = {}
        self._versions: defaultdict[str, int] = defaultdict(int)

    def make(self, namespace: str, name: str) -> None:
        """An agent's Deployment."""
        metadata = {"name": name, "namespace": namespace, "uid": f"uid-{name}"}
        template = {"metadata": {}, "spec": {"containers": [{"name": "agent"}]}}
        body = {"metadata": metadata, "spec": {"replicas": 0, "template": template}}
        self.set_label(self._keep(AGENT_DEPLOYMENTS, body), present=True)

    def set_label(self, path: str, *, present: bool) -> None:
        (self.labelled.add if present else self.labelled.discard)(path)
        self._show(AGENT_DEPLOYMENTS, path)

    async def get[T: KubeObject](
        self, resource: Resource[T], name: str, namespace: str | None = None
    ) -> T | None:
        self._requests.note()
        found = self._objects.get(resource.path(namespace, name))
        return msgspec.convert(found, resource.model) if found else None

    async def list_page[T: KubeObject](
        self,
        resource: Resource[T],
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = PAGE_SIZE,
        continue_: str = "",
    ) -> ListPage[T]:
        del limit, continue_
        self._requests.note()
        path = resource.path(namespace, field_selector.removeprefix("metadata.name="))
        found = [
            msgspec.convert(obj, resource.model)
            for it, obj in self._objects.items()
            if it.startswith(path) and (not label_selector or it in self.labelled)
        ]
        return ListPage(items=found, resource_version="1")

    async def apply[T: KubeObject](
        self,
        resource: Resource[T],
        body: Mapping[str, Any],
        *,
        field_manager: str | None = None,
        force: bool = True,
    ) -> T:
        del field_manager, force
        self._requests.note()
        path = self._keep(resource, msgspec.to_builtins(body))
        self._show(resource, path)
        if resource.kind == AGENT_DEPLOYMENTS.kind and "MLFLOW" in str(body):
            self.configured_at[body["metadata"]["namespace"], body["metadata"]["name"]] = clock.monotonic()
        return msgspec.convert(self._objects[path], resource.model)

    async def delete(
        self, resource: Resource[Any], name: str, namespace: str | None = None, *, uid: str | None = None
    ) -> bool:
        del uid
        self._requests.note()
        path = resource.path(namespace, name)
        there = self._objects.pop(path, None) is not None
        self._show(resource, path)
        return there

    async def ask[T](self, method: str, path: str, model: type[T], *, body: Any = None) -> T:
        del method, body
        self._requests.note()
        if path not in self._objects:
            raise ApiError(f"get {path}", status=404)
        return msgspec.convert(self._objects[path], model)

    def _keep(self, resource: Resource[Any], body: Object) -> str:
        path = resource.path(body["metadata"]["namespace"], body["metadata"]["name"])
        version = self._versions[""] = self._versions[""] + 1
        metadata = {"uid": f"uid-{version}"} | body["metadata"] | {"resourceVersion": str(version)}
        if resource.kind == AGENT_DEPLOYMENTS.kind:
            self._versions[path] += 1
            metadata["generation"] = self._versions[path]
            # What an apply leaves out of the only container is given up.
            body = {"spec": {"template": {"spec": {"containers": [{"name": "agent"}]}}}} | body
            body["spec"]["replicas"] = 0
        self._objects[path] = {**body, "metadata": metadata}
        return path

    def _show(self, resource: Resource[Any], path: str) -> None:
        obj = self._objects.get(path)
        there = obj and (resource.kind != AGENT_DEPLOYMENTS.kind or path in self.labelled)
        namespace, name = path.split("/")[-3], path.split("/")[-1]
        for informer in self.caches[resource.kind]:
            selected = informer.selection.name in ("", name)
            if selected and there:
                shown = msgspec.convert(obj, informer.resource.model)
                informer.cache.put(key_of(shown), shown)
            elif selected and not there:
                informer.cache.remove((namespace, name), "")


class Cluster:
    """What a test changes, and counts."""

    def __init__(self, dependencies: Dependencies, api: StandInApi, mlflow: StandInMLflow) -> None:
        self.api = api
        self.mlflow = mlflow
        self.endpoint = Observable[Endpoint | None](Endpoint(INJECTION.tracking_uri, "https://mlflow"))
        agents, access = AgentFacts(dependencies), AccessFacts(dependencies)
        found, gone = MLflowFacts(dependencies.informers), Observable(False)
        own = CollectorExperiments(dependencies.settings, access)
        api.caches = {
            AGENT_DEPLOYMENTS.kind: [agents.workloads["Deployment"]],
            ROLES.kind: [agents.roles],
            ROLE_BINDINGS.kind: [agents.bindings, access.bindings],
        }
        self.controllers = (
            agents_controller.setup(dependencies, agents, self.endpoint, gone, own),
            access_controller.setup(dependencies, found, access, agents, own, gone, None),
        )
        put(found.data_science_clusters, MANAGED)
        put(found.mlflows, AVAILABLE)
        put(access.integration_role, KubeObject(metadata=ObjectMeta(name=INTEGRATION_ROLE)))


@asynccontextmanager
async def running_cluster() -> AsyncGenerator[tuple[Cluster, Requests]]:
    """Both controllers at work."""
    requests = Requests()
    settings = Settings(enable_mlflow=True)
    async with open_dependencies(settings) as opened:
        api, mlflow = StandInApi(requests), StandInMLflow(requests)
        dependencies = replace(opened, client=api, agents_mlflow=mlflow)
        cluster = Cluster(dependencies, api, mlflow)
        running = [asyncio.create_task(controller.run()) for controller in cluster.controllers]
        yield cluster, requests
        for controller in cluster.controllers:
            controller.stop()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
