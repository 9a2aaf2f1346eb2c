"""One pod on the node: from its network to its last container's end."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import structlog

from kagenti_devcluster.node.context import NodeContext
from kagenti_devcluster.node.environ import PodFacts, SourceMissing
from kagenti_devcluster.node.hosts import render_hosts
from kagenti_devcluster.node.launch import Launch
from kagenti_devcluster.node.models import PODS, Container, Pod
from kagenti_devcluster.node.network import NODE_ADDRESS, PodNetwork
from kagenti_devcluster.node.prepare import RESOLV_CONF, PodFiles, prepare, write_in_place
from kagenti_devcluster.node.runner import ContainerRunner
from kagenti_devcluster.node.state import ContainerRecord, State, Waiting, build_status
from kagenti_devcluster.node.tasks import log_failure
from kagenti_devcluster.node.volumes import PodVolumes
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
        self._changed = asyncio.Event()
        self._stop = asyncio.Event()
        self._grace_seconds = 0.0
        self._delete = False
        self._hosts = ""
        self._reported: dict[str, Any] | None = None

    @property
    def namespace(self) -> str:
        """The pod's namespace."""
        return self._pod.metadata.namespace

    def container_state(self, name: str) -> State | None:
        """How one of its containers is; None where it has none of that name."""
        return next((r.state for r in (*self._init, *self._main) if r.container.name == name), None)

    # --- what the node tells -------------------------------------------------------------------------

    def update(self, pod: Pod) -> None:
        """The object changed; a deletion ends the pod gracefully, and the object when that is done."""
        self._pod = pod
        if pod.metadata.deletion_timestamp:
            grace = pod.metadata.deletion_grace_period_seconds
            self._delete = True
            self.stop(pod.spec.termination_grace_period_seconds if grace is None else grace)
        self._volumes.refresh()

    def vanish(self) -> None:
        """The object is gone."""
        self._delete = False
        self.stop(_VANISHED_GRACE_SECONDS)

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
        if self._network is None:
            return
        entries = self._context.hosts(self._pod.metadata.namespace)
        content = render_hosts(self._network.address, self._names(), entries)
        if content != self._hosts:
            self._hosts = content
            write_in_place(PodFiles(self._directory).hosts, content)

    # --- its life ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run the pod until it is stopped and nothing of it is left."""
        name = f"{self._pod.metadata.namespace}/{self._pod.metadata.name}"
        life = asyncio.create_task(self._live(), name=f"pod {name}")
        life.add_done_callback(log_failure)
        reporting = asyncio.create_task(self._report(), name=f"status of pod {name}")
        reporting.add_done_callback(log_failure)
        try:
            await self._stop.wait()
            await self._end(life)
            if self._delete:
                self._changed.set()
                await self._delete_object()
        finally:
            life.cancel()
            reporting.cancel()
            await asyncio.gather(life, reporting, return_exceptions=True)
            await self._clean_up()

    async def _live(self) -> None:
        network = await self._set_up()
        keeping = asyncio.create_task(self._volumes.keep_tokens(), name="tokens")
        keeping.add_done_callback(log_failure)
        try:
            async with asyncio.TaskGroup() as group:
                await self._run_containers(network, group)
        finally:
            keeping.cancel()

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
        self._changed.set()
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
                    self._write_files()
                    self._changed.set()
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
        self._changed.set()
        self._context.tell(self._pod, "FailedSetUp", message, warning=True)

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

    def _names(self) -> list[str]:
        metadata, spec = self._pod.metadata, self._pod.spec
        hostname = spec.hostname or metadata.name
        if not spec.subdomain:
            return [hostname]
        return [f"{hostname}.{spec.subdomain}.{metadata.namespace}.svc.cluster.local", hostname]

    def _write_files(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        files = PodFiles(self._directory)
        files.resolv_conf.write_text(RESOLV_CONF)
        files.hostname.write_text(f"{self._pod.spec.hostname or self._pod.metadata.name}\n")
        self.refresh_hosts()

    def _make_runner(self, record: ContainerRecord, network: PodNetwork) -> ContainerRunner:
        spec = self._pod.spec
        policy = spec.restart_policy
        if record in self._init:
            policy = "Always" if record.is_sidecar else policy.replace("Always", "OnFailure")

        def tell(reason: str, message: str, *, warning: bool = False) -> None:
            self._context.tell(self._pod, reason, message, warning=warning)

        runner = ContainerRunner(
            record,
            policy=policy,
            grace_seconds=spec.termination_grace_period_seconds,
            address=network.address,
            prepare=lambda: self._prepare(record.container, network),
            changed=self._changed.set,
            tell=tell,
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
            directory=self._directory,
        )

    # --- what the API server hears -------------------------------------------------------------------

    async def _report(self) -> None:
        """Write the status whenever it changed, until cancelled or the object is gone."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._write_status()
            except ApiError as error:
                if error.not_found:
                    return
                await self._try_again(error)
            except KubeError as error:
                await self._try_again(error)

    async def _try_again(self, error: KubeError) -> None:
        log.warning("A pod's status could not be written, will try again", error=str(error))
        await asyncio.sleep(_RETRY_SECONDS)
        self._changed.set()

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
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "gracePeriodSeconds": 0,
            "preconditions": {"uid": metadata.uid},
        }
        while self._delete:
            try:
                await self._context.client.raw(
                    "DELETE",
                    PODS.path(metadata.namespace, metadata.name),
                    body=json.dumps(options).encode(),
                )
            except ApiError as error:
                if error.not_found or error.conflict:
                    return
                log.warning("A pod's object could not be deleted, will try again", error=str(error))
            except KubeError as error:
                log.warning("A pod's object could not be deleted, will try again", error=str(error))
            else:
                return
            await asyncio.sleep(_RETRY_SECONDS)

    async def _clean_up(self) -> None:
        # From here on nothing is written into its directory any more.
        self._volumes.close()
        network, self._network = self._network, None
        if network is not None:
            self._context.networks.disconnect(network)
        await asyncio.to_thread(remove_tree, self._directory)


def remove_tree(directory: Path) -> None:
    """Remove a directory, also what a program made unwritable in it."""
    if not directory.exists():
        return
    for folder, names, _ in directory.walk():
        for name in names:
            inner = folder / name
            if not inner.is_symlink():
                inner.chmod(0o700)
    shutil.rmtree(directory)
