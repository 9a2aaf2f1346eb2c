"""The cluster's inside: control plane, node and platform, in one process of namespaces of their own.

Started by the host daemon (`host/daemon.py`), which lives outside. Everything that runs in the cluster is in
this process's pid namespace, so nothing outlives it.
"""

import asyncio
import os
import random
import resource
import signal
import sys
from pathlib import Path

import msgspec
import structlog

import kagenti_operator
from kagenti_devcluster.cluster.child_process import ChildProcess
from kagenti_devcluster.cluster.controlplane import ControlPlane
from kagenti_devcluster.cluster.kubeconfig import build_kubeconfig, certificate_user, write_kubeconfig
from kagenti_devcluster.cluster.pki import issue_client
from kagenti_devcluster.errors import DevClusterError
from kagenti_devcluster.host.egress import egress_variables
from kagenti_devcluster.host.options import KEYCLOAK, ClusterOptions
from kagenti_devcluster.host.paths import StatePaths
from kagenti_devcluster.host.port_forwards import API_SERVER, Inheritance, direct_hosts, start_port_forwards
from kagenti_devcluster.host.status import Progress, Status
from kagenti_devcluster.node.images import PACKAGED, ImageTable, load_images
from kagenti_devcluster.node.kubelet import LogServer
from kagenti_devcluster.node.network import NODE_ADDRESS, SERVICE_CIDR, set_up_node
from kagenti_devcluster.node.node import Node
from kagenti_devcluster.profiles import find_profile
from kagenti_devcluster.standins import keycloak, platform
from kagenti_devcluster.toolchain.binaries import BinaryMissing
from kagenti_devcluster.toolchain.cache import cache_dir, checkout
from kagenti_operator import clock
from kagenti_operator.kube.auth.credentials import load_connection
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import KubeError
from kagenti_operator.runtime.telemetry.logging import configure
from kagenti_operator.runtime.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

# How long pods get at the end; nobody waits for their grace periods in front of a terminal.
_STOP_SECONDS = 3.0
_REVIVE_SECONDS = 1.0


class Supervisor:
    """Runs the cluster until it is to stop."""

    def __init__(self, inheritance: Inheritance):
        self._inheritance = inheritance
        self._options = ClusterOptions.decode(inheritance.options)
        self._paths = StatePaths(self._options.directory)
        self._rng = random.Random()
        self._stop = asyncio.Event()
        addresses = {name: f"127.0.0.1:{port}" for name, port in inheritance.ports.items()}
        status = Status(
            phase="starting",
            profile=self._options.profile,
            bare=self._options.bare,
            keycloak=self._options.keycloak,
            addresses=addresses,
            started_at=clock.now().isoformat(timespec="seconds"),
        )
        self._progress = Progress(self._paths.status, status)

    def run(self) -> int:
        """Run to the end; returns the exit code."""
        try:
            images = ImageTable(load_images(self._image_tables()))
            set_up_node()
            control_plane = ControlPlane(
                self._paths.control_plane,
                bind_address=NODE_ADDRESS,
                advertise_address=NODE_ADDRESS,
                service_cidr=SERVICE_CIDR,
                audit=True,
            )
            # Before the event loop: children die with the thread that started them, and this one stays.
            control_plane.start()
        except (DevClusterError, BinaryMissing) as error:
            self._progress.phase("failed", str(error))
            return 1
        try:
            asyncio.run(self._run(control_plane, images))
        except* (DevClusterError, KubeError) as errors:
            self._progress.phase("failed", "; ".join(map(str, flatten(errors))))
        finally:
            control_plane.close()
        return 1 if self._progress.status.phase == "failed" else 0

    def _image_tables(self) -> list[Path]:
        return [path for path in (self._options.images, PACKAGED) if path is not None]

    async def _run(self, control_plane: ControlPlane, images: ImageTable) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        self._write_kubeconfig(control_plane)
        self._progress.step("etcd, API server and controller manager run")
        client = KubeClient(load_connection({"KUBECONFIG": str(control_plane.admin_kubeconfig)}))
        node = Node(
            client,
            paths=self._paths,
            images=images,
            visible=visible_directories(),
            egress=egress_variables(NODE_ADDRESS, direct_hosts()),
            version=await _read_version(client),
            rng=self._rng,
        )
        try:
            await self._serve(control_plane, client, node)
        finally:
            self._progress.phase("stopping", self._progress.status.message)
            await node.stop_pods(_STOP_SECONDS)
            await client.close()

    async def _serve(self, control_plane: ControlPlane, client: KubeClient, node: Node) -> None:
        async with asyncio.TaskGroup() as group:
            logs = LogServer(self._paths, exists=node.has_pod, find_state=node.container_state)
            working = [
                group.create_task(node.run(), name="node"),
                group.create_task(logs.run(control_plane.authority), name="kubelet"),
                *(
                    group.create_task(self._keep_running(control_plane, component), name=component.name)
                    for component in control_plane.components
                ),
            ]
            await start_port_forwards(self._inheritance, self._options, self._paths, control_plane.port, node)
            working.append(
                group.create_task(
                    self._install(client, control_plane.admin_kubeconfig, node), name="platform"
                )
            )
            await self._stop.wait()
            for task in working:
                task.cancel()

    async def _install(self, client: KubeClient, kubeconfig: Path, node: Node) -> None:
        async with asyncio.TaskGroup() as group:
            # Both take their time, Keycloak a quarter of a minute.
            installing: list[asyncio.Task[None]] = []
            if self._options.keycloak:
                installing.append(
                    group.create_task(self._install_keycloak(kubeconfig, node), name="keycloak")
                )
            if not self._options.bare:
                options = platform.Options(profile=find_profile(self._options.profile))
                stand_ins = platform.StandIns(client, kubeconfig, options, rng=self._rng, metrics=Metrics())
                group.create_task(stand_ins.run(), name="stand-ins")
                await platform.install(client, kubeconfig, options)
                self._progress.step(f"the platform is installed: {self._options.profile}")
            await asyncio.gather(*installing)
            self._progress.phase("ready")

    async def _install_keycloak(self, kubeconfig: Path, node: Node) -> None:
        public = f"http://{self._progress.status.addresses[KEYCLOAK.name]}"
        await keycloak.install(
            kubeconfig,
            find_profile(self._options.profile),
            public,
            find_address=lambda: node.service_address(KEYCLOAK.namespace, KEYCLOAK.service),
        )
        self._progress.step(f"Keycloak is set up: {public}")

    def _write_kubeconfig(self, control_plane: ControlPlane) -> None:
        """The administrator's, as the machine reaches the API server."""
        server = f"https://127.0.0.1:{self._inheritance.ports[API_SERVER]}"
        user = certificate_user(issue_client(control_plane.authority, "kubernetes-admin", "system:masters"))
        kubeconfig = build_kubeconfig(server, control_plane.authority.cert_pem.bytes(), user)
        write_kubeconfig(self._paths.kubeconfig, kubeconfig)

    # --- the control plane ---------------------------------------------------------------------------

    async def _keep_running(self, control_plane: ControlPlane, component: ChildProcess) -> None:
        """Start a component again whenever it ends."""
        name, ended = component.name, 0
        self._progress.component(name, "running")
        while True:
            await _wait_for_end(component)
            ended += 1
            log.error("A component ended, it is started again", component=name, log=str(component.log))
            self._progress.component(name, f"ended, {ended} times so far")
            await asyncio.sleep(_REVIVE_SECONDS)
            control_plane.revive(name)
            component = next(c for c in control_plane.components if c.name == name)
            self._progress.component(name, f"running, started again {ended} times")


async def _wait_for_end(component: ChildProcess) -> None:
    """Return when a process has ended."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    handle = os.pidfd_open(component.pid)
    loop.add_reader(handle, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)


async def _read_version(client: KubeClient) -> str:
    return msgspec.json.decode(await client.raw("GET", "/version"))["gitVersion"]


def flatten(group: BaseExceptionGroup[Exception]) -> list[Exception]:
    """The exceptions in a group and in the groups in it."""
    found: list[Exception] = []
    for error in group.exceptions:
        found += flatten(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def visible_directories() -> list[str]:
    """What containers need of this machine wherever it lies: interpreters, this project, cached tools."""
    package = Path(kagenti_operator.__file__).resolve().parents[1]
    # Examples are part of a checkout only.
    return [sys.prefix, sys.base_prefix, str(checkout() or package), str(cache_dir())]


def _allow_many_files() -> None:
    """Each pod and each connection needs some; the soft limit is there for select(2)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main(arguments: list[str]) -> int:
    """Run the cluster's inside; the argument is an Inheritance in JSON."""
    configure("text", "info")
    _allow_many_files()
    return Supervisor(msgspec.json.decode(arguments[0], type=Inheritance)).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
