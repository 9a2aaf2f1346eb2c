"""One pod on the node: from its network to its last container's end."""

import asyncio
import json
from functools import partial
from typing import Any

import structlog

from kagenti_devcluster.node.context import NodeContext
from kagenti_devcluster.node.environ import PodFacts, SourceMissing
from kagenti_devcluster.node.launch import Launch
from kagenti_devcluster.node.models import PODS, Container, Pod
from kagenti_devcluster.node.network import NODE_ADDRESS, PodNetwork
from kagenti_devcluster.node.podfiles import PodFiles
from kagenti_devcluster.node.prepare import prepare
from kagenti_devcluster.node.runner import ContainerRunner
from kagenti_devcluster.node.state import ContainerRecord, State, Waiting, build_status
from kagenti_devcluster.node.tasks import log_failure
from kagenti_devcluster.node.volumes import PodVolumes
from kagenti_devcluster.trees import remove_tree
from kagenti_operator import clock
from kagenti_operator.kube.errors import ApiError, KubeError

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 2.0
# For a pod whose object is gone already: nobody can say how long it may take.
_VANISHED_GRACE_SECONDS = 2.0


class PodWorker:
    """Brings one pod to life and to its end, and reports how it is."""

    def __init__(self, context: NodeContext, pod: Pod):
        self._context = context
        self._pod = pod
        self._began = clock.now()
        self._directory = context.paths.pods / pod.metadata.uid
        self._files = PodFiles(self._directory, pod)
        self._network: PodNetwork | None = None
        namespace = pod.metadata.namespace
        self._volumes = PodVolumes(
            context.client,
            self._directory / "volumes",
            facts=self._facts,
            lookup=context.lookup(namespace),
            claim_directory=context.claim_directory(namespace),
            signing_key=context.paths.signing_key,
        )
        self._init = [ContainerRecord(c) for c in pod.spec.init_containers or ()]
        self._main = [ContainerRecord(c) for c in pod.spec.containers]
        self._runners: list[ContainerRunner] = []
        self._sources_changed = asyncio.Event()
        self._stop = asyncio.Event()
        self._grace_seconds = 0.0
        # Whether the object is to be deleted in the end, whether it is time for that, and whether it is done.
        self._delete = self._ended = False
        self._gone = asyncio.Event()
        self._reported: dict[str, Any] | None = None

    @property
    def namespace(self) -> str:
        """The pod's namespace."""
        return self._pod.metadata.namespace

    def container_state(self, name: str) -> State | None:
        """How one of its containers is; None where it has none of that name."""
        return next((r.state for r in (*self._init, *self._main) if r.container.name == name), None)

    # --- what the node calls -------------------------------------------------------------------------

    def update(self, pod: Pod) -> None:
        """The object changed; a deletion ends the pod gracefully, and the object when that is done."""
        self._pod = pod
        if pod.metadata.deletion_timestamp:
            grace = pod.metadata.deletion_grace_period_seconds
            self._delete = True
            self.stop(pod.spec.termination_grace_period_seconds if grace is None else grace)
        self._volumes.refresh()

    def vanish(self, grace_seconds: float = _VANISHED_GRACE_SECONDS) -> None:
        """End the pod without its object, which is gone, or which the node leaves to itself."""
        self._delete = False
        self._gone.set()
        self.stop(grace_seconds)

    def stop(self, grace_seconds: float) -> None:
        """End the pod: SIGTERM now, SIGKILL after the grace period."""
        if not self._stop.is_set():
            self._grace_seconds = grace_seconds
            self._stop.set()

    def retry(self) -> None:
        """A ConfigMap, Secret or claim of the pod's namespace changed."""
        self._volumes.refresh()
        self._sources_changed.set()
        for runner in self._runners:
            runner.retry()

    def refresh_hosts(self) -> None:
        """The Services changed."""
        if self._network:
            self._files.write_hosts(self._network.address, self._context.hosts(self.namespace))

    # --- its life ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run the pod until it is stopped and nothing of it is left."""
        name = f"{self._pod.metadata.namespace}/{self._pod.metadata.name}"
        life = asyncio.create_task(self._live(), name=f"pod {name}")
        life.add_done_callback(log_failure)
        try:
            await self._stop.wait()
            await self._end(life)
            if self._delete:
                self._ended = True
                self._changed()
                await self._gone.wait()
        finally:
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
            await self._clean_up()

    async def _live(self) -> None:
        try:
            network = await self._set_up()
            async with asyncio.TaskGroup() as group:
                await self._run_containers(network, group)
        finally:
            # From here on nothing is written into its directory any more.
            self._volumes.close()

    async def _run_containers(self, network: PodNetwork, group: asyncio.TaskGroup) -> None:
        sidecars: list[ContainerRunner] = []
        for record in self._init:
            if self._stop.is_set():
                return
            runner = self._make_runner(record, network)
            if record.is_sidecar:
                sidecars.append(runner)
                group.create_task(runner.run())
                await runner.wait_started()
            else:
                await runner.run()
                if not record.succeeded:
                    break
        else:
            await self._run_main(network)
        for runner in sidecars:
            runner.stop()

    async def _run_main(self, network: PodNetwork) -> None:
        for record in self._init:
            record.ready = True
        for record in self._main:
            record.state = Waiting("ContainerCreating")
        self._changed()
        async with asyncio.TaskGroup() as group:
            for record in self._main:
                if not self._stop.is_set():
                    group.create_task(self._make_runner(record, network).run())

    async def _set_up(self) -> PodNetwork:
        """Make network and volumes, as soon as everything for it is there."""
        while True:
            self._sources_changed.clear()
            try:
                if self._network is None:
                    self._network = await self._context.networks.connect()
                    self._files.write()
                    self.refresh_hosts()
                    self._changed()
                await self._volumes.mount()
            except (SourceMissing, KubeError, OSError) as error:
                self._wait_because(str(error))
            else:
                return self._network
            try:
                async with asyncio.timeout(_RETRY_SECONDS):
                    await self._sources_changed.wait()
            except TimeoutError:
                continue

    def _wait_because(self, message: str) -> None:
        state = Waiting("ContainerCreating", message)
        for record in (*self._init, *self._main):
            record.state = state
        self._changed()
        self._context.record_event(self._pod, "FailedSetUp", message, warning=True)

    async def _end(self, life: asyncio.Task[None]) -> None:
        """End all containers; returns when nothing runs any more."""
        for runner in self._runners:
            runner.stop()
        if not self._runners:
            life.cancel()
        await asyncio.wait({life}, timeout=self._grace_seconds)
        # Those that wait, for a volume or for their next start, end by this; so do the stubborn.
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)

    # --- its containers ------------------------------------------------------------------------------

    def _facts(self) -> PodFacts:
        address = self._network.address if self._network else ""
        return PodFacts(self._pod, address, self._context.name, NODE_ADDRESS)

    def _make_runner(self, record: ContainerRecord, network: PodNetwork) -> ContainerRunner:
        spec = self._pod.spec
        policy = spec.restart_policy
        if record in self._init:
            policy = "Always" if record.is_sidecar else policy.replace("Always", "OnFailure")

        runner = ContainerRunner(
            record,
            policy=policy,
            grace_seconds=spec.termination_grace_period_seconds,
            address=network.address,
            prepare=lambda: self._prepare(record.container, network),
            changed=self._changed,
            record_event=partial(self._context.record_event, self._pod),
        )
        self._runners.append(runner)
        return runner

    async def _prepare(self, container: Container, network: PodNetwork) -> Launch:
        return await asyncio.to_thread(
            prepare,
            self._context,
            container,
            facts=self._facts(),
            volumes=self._volumes,
            network=network,
            files=self._files,
        )

    # --- its object ----------------------------------------------------------------------------------

    def _changed(self) -> None:
        self._context.reconcile(self._pod.metadata.uid)

    async def reconcile(self) -> float | None:
        """Write the status if it changed, and replace tokens; in the end delete the object.

        Returns after how many seconds a token is due. Raises KubeError.
        """
        try:
            await self._write_status()
            if self._ended:
                await self._delete_object()
        except ApiError as error:
            if not error.not_found:
                raise
            self._gone.set()
        return None if self._gone.is_set() else await self._volumes.renew_tokens()

    async def _write_status(self) -> None:
        status = build_status(
            self._pod,
            address=self._network.address if self._network else "",
            node_address=NODE_ADDRESS,
            init=self._init,
            containers=self._main,
            started_at=self._began,
            now=clock.now(),
            before=self._reported,
        )
        if status == self._reported:
            return
        metadata = self._pod.metadata
        # With the uid, so that it is never written to another pod of the same name.
        body = {"metadata": {"uid": metadata.uid}, "status": status}
        await self._context.client.merge_patch(
            PODS, metadata.name, body, metadata.namespace, subresource="status"
        )
        self._reported = status

    async def _delete_object(self) -> None:
        metadata = self._pod.metadata
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata.uid}}
        path = PODS.path(metadata.namespace, metadata.name)
        try:
            await self._context.client.raw("DELETE", path, body=json.dumps(options).encode())
        except ApiError as error:
            # Another pod has its name by now.
            if not error.conflict:
                raise
        self._gone.set()

    async def _clean_up(self) -> None:
        network, self._network = self._network, None
        if network is not None:
            self._context.networks.disconnect(network)
        await asyncio.to_thread(remove_tree, self._directory)
