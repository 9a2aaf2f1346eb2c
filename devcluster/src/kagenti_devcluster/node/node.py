"""The node: follows the API server's objects and gives each of its pods a worker."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from kagenti_devcluster.host.paths import StatePaths
from kagenti_devcluster.node.claims import ClaimBinder
from kagenti_devcluster.node.context import NodeContext
from kagenti_devcluster.node.environ import Lookup
from kagenti_devcluster.node.hosts import Entry, build_entries
from kagenti_devcluster.node.images import ImageTable
from kagenti_devcluster.node.logs import bound_logs
from kagenti_devcluster.node.models import PODS, Pod
from kagenti_devcluster.node.network import PodNetworks
from kagenti_devcluster.node.objects import CLAIMS, FULL_CONFIG_MAPS, FULL_SERVICES, SECRETS, SLICES
from kagenti_devcluster.node.pod import PodWorker
from kagenti_devcluster.node.registration import NODE_NAME, node_labels, register
from kagenti_devcluster.node.scheduler import Scheduler
from kagenti_devcluster.node.services import BY_SERVICE, ServiceProxies, index_by_service
from kagenti_devcluster.node.state import State
from kagenti_devcluster.node.tasks import log_failure
from kagenti_devcluster.node.volumes import ClaimDirectory
from kagenti_operator import clock
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.resources import Resource
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.cache.object_cache import Event, Removed, Selection
from kagenti_operator.runtime.control.controller import build_controller
from kagenti_operator.runtime.telemetry.events import EventRecorder, ObjectRef
from kagenti_operator.runtime.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

# What the node's Events are found by: the operator's are found by the operator's own name.
REPORTING_CONTROLLER = "devcluster-node"
_POD_WORKERS = 8


class Node:
    """One node, which runs every pod of the cluster."""

    def __init__(
        self,
        client: KubeClient,
        *,
        paths: StatePaths,
        images: ImageTable,
        visible: Sequence[str],
        egress: Mapping[str, str],
        version: str,
        rng: random.Random,
    ):
        """`egress`: the variables that lead to the outside; `version`: what the node says it runs."""
        self._client = client
        self._paths = paths
        self._version = version
        self._began = clock.now()
        self._rng = rng
        self._events = EventRecorder(client, controller=REPORTING_CONTROLLER, instance=NODE_NAME, rng=rng)
        self._pods = self._follow(PODS)
        self._config_maps = self._follow(FULL_CONFIG_MAPS)
        self._secrets = self._follow(SECRETS)
        self._claims = self._follow(CLAIMS)
        self._services = self._follow(FULL_SERVICES)
        self._slices = Informer(
            client, Selection(resource=SLICES, indexes=((BY_SERVICE, index_by_service),)), rng
        )
        metrics = Metrics()
        self._proxies = ServiceProxies(self._services, self._slices, metrics=metrics, rng=rng)
        self._scheduler = Scheduler(
            client, self._pods, node=NODE_NAME, labels=node_labels(), metrics=metrics, rng=rng
        )
        self._binder = ClaimBinder(client, self._claims, paths.claims, metrics=metrics, rng=rng)
        self._workers: dict[str, PodWorker] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._registration = build_controller("registration", self._register, metrics, rng)
        self._registration.enqueue(NODE_NAME)
        self._statuses = build_controller("pods", self._reconcile_pod, metrics, rng, workers=_POD_WORKERS)
        self._context = NodeContext(
            name=NODE_NAME,
            client=client,
            paths=paths,
            networks=PodNetworks(),
            images=images,
            visible=visible,
            lookup=self._lookup,
            claim_directory=self._claim_directory,
            hosts=self._hosts,
            egress=egress,
            reconcile=self._statuses.enqueue,
            record_event=self._record_event,
        )
        self._host_files = build_controller("hosts", self._refresh_hosts, metrics, rng, expected=(OSError,))
        self._host_files.watches(self._services, lambda _: tuple(self._workers))
        self._host_files.watches(self._slices, lambda _: tuple(self._workers))
        self._pods.subscribe(self._on_pod)
        for informer in (self._config_maps, self._secrets, self._claims):
            informer.subscribe(self._on_source)

    def _follow[T: KubeObject](self, resource: Resource[T]) -> Informer[T]:
        return Informer(self._client, Selection(resource=resource), self._rng)

    # --- its life ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run until cancelled. Pods go on running: see `stop_pods`."""
        informers: tuple[Informer[Any], ...] = (
            self._services,
            self._slices,
            self._config_maps,
            self._secrets,
            self._claims,
            self._pods,
        )
        async with asyncio.TaskGroup() as group:
            for informer in informers:
                # Pods come last: what they refer to should be known.
                if informer is self._pods:
                    await asyncio.gather(*(i.wait_synced() for i in informers if i is not informer))
                group.create_task(informer.run(), name=informer.name)
            controllers = (self._registration, self._statuses, self._host_files)
            for controller in (*controllers, self._scheduler.controller, self._binder.controller):
                group.create_task(controller.run(), name=controller.name)
            group.create_task(self._proxies.run(), name="services")
            group.create_task(self._events.run(), name="events")
            group.create_task(bound_logs(self._paths, self.has_pod), name="logs")

    async def stop_pods(self, grace_seconds: float) -> None:
        """End all pods, without writing to the API server; returns when none is left."""
        for worker in self._workers.values():
            worker.vanish(grace_seconds)
        if self._running:
            await asyncio.wait(set(self._running))

    # --- what happens --------------------------------------------------------------------------------

    def _on_pod(self, event: Event[Pod]) -> None:
        pod = event.object
        if isinstance(event, Removed):
            if worker := self._workers.get(pod.metadata.uid):
                worker.vanish()
        elif pod.spec.node_name == NODE_NAME:
            worker = self._workers.get(pod.metadata.uid) or self._take_on(pod)
            worker.update(pod)

    def _take_on(self, pod: Pod) -> PodWorker:
        worker = PodWorker(self._context, pod)
        uid = pod.metadata.uid
        self._workers[uid] = worker
        task = asyncio.create_task(worker.run(), name=f"worker {pod.metadata.namespace}/{pod.metadata.name}")

        def forget(done: asyncio.Task[None]) -> None:
            self._running.discard(done)
            self._workers.pop(uid, None)

        self._running.add(task)
        task.add_done_callback(forget)
        task.add_done_callback(log_failure)
        return worker

    def _on_source(self, event: Event[Any]) -> None:
        for worker in self._workers.values():
            if worker.namespace == event.object.metadata.namespace:
                worker.retry()

    async def _register(self, _: str) -> float:
        return await register(self._client, self._began, self._version)

    async def _reconcile_pod(self, uid: str) -> float | None:
        worker = self._workers.get(uid)
        return await worker.reconcile() if worker else None

    async def _refresh_hosts(self, uid: str) -> None:
        if worker := self._workers.get(uid):
            worker.refresh_hosts()

    def service_address(self, namespace: str, name: str) -> str | None:
        """The address of a Service, None where there is none."""
        service = self._services.cache.get(namespace, name)
        return service.spec.cluster_ip if service and service.spec.cluster_ip != "None" else None

    def has_pod(self, namespace: str, name: str) -> bool:
        """Whether a pod is on the node."""
        pod = self._pods.cache.get(namespace, name)
        return pod is not None and pod.metadata.uid in self._workers

    def container_state(self, namespace: str, pod: str, container: str) -> State | None:
        """How a container is; None where the node has no such container."""
        found = self._pods.cache.get(namespace, pod)
        worker = self._workers.get(found.metadata.uid) if found else None
        return worker.container_state(container) if worker else None

    # --- what pods ask -------------------------------------------------------------------------------

    def _lookup(self, namespace: str) -> Lookup:
        def lookup(kind: str, name: str) -> Mapping[str, bytes] | None:
            store = self._secrets.cache if kind == "Secret" else self._config_maps.cache
            found = store.get(namespace, name)
            return found.content if found else None

        return lookup

    def _claim_directory(self, namespace: str) -> ClaimDirectory:
        return lambda name: self._binder.directory_of(namespace, name)

    def _hosts(self, namespace: str) -> Sequence[Entry]:
        services = self._services.cache.values()
        slices = {
            (s.metadata.namespace, s.metadata.name): self._slices.cache.by_index(
                BY_SERVICE, f"{s.metadata.namespace}/{s.metadata.name}"
            )
            for s in services
        }
        return build_entries(namespace, services, slices)

    def _record_event(self, pod: Pod, reason: str, message: str, *, warning: bool = False) -> None:
        about = ObjectRef.of(PODS, pod)
        if warning:
            self._events.warning(about, reason, message)
        else:
            self._events.normal(about, reason, message)
