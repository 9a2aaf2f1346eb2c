"""A fresh control plane for each measurement, with the platform on it and an identity for the operator."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.subject import Credentials
from kagenti_devcluster.cluster.controlplane import ControlPlane
from kagenti_devcluster.testing.platform import FIXED_NAMESPACES, RBAC, SYSTEM, Platform
from kagenti_operator.kube.auth.credentials import load_connection
from kagenti_operator.kube.client import KubeClient

ACCOUNT = "controller-manager"
# What the API server on two cores takes without making anybody wait.
WIDTH = 24


@dataclass(frozen=True, kw_only=True)
class Bed:
    """The control plane, the administrator's way in, and what the operator is given."""

    control_plane: ControlPlane
    admin: KubeClient
    platform: Platform
    directory: Path
    credentials: Credentials
    python: Path


@asynccontextmanager
async def open_testbed(directory: Path, python: Path) -> AsyncGenerator[Bed]:
    """Start etcd and kube-apiserver. No controllers run, so that nothing else reacts to a fleet."""
    control_plane = ControlPlane(directory / "control-plane", controller_manager=False)
    try:
        await asyncio.to_thread(control_plane.start)
        connection = load_connection({"KUBECONFIG": str(control_plane.admin_kubeconfig)})
        async with KubeClient(connection, max_connections=2 * WIDTH + 8) as admin:
            platform = Platform(admin)
            for name in FIXED_NAMESPACES:
                await platform.namespace(name)
            folder = await make_service_account(platform, control_plane, directory / "service-account")
            yield Bed(
                control_plane=control_plane,
                admin=admin,
                platform=platform,
                directory=directory,
                credentials=Credentials(folder=folder, port=control_plane.port),
                python=python,
            )
    finally:
        control_plane.close()
        control_plane.erase()


async def make_service_account(platform: Platform, control_plane: ControlPlane, folder: Path) -> Path:
    """The operator's ServiceAccount as a pod finds it: token, CA and namespace in a folder."""
    path = f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/{ACCOUNT}"
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT}}
    await platform.put(path, account)
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "benchmarks"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": SYSTEM}],
    }
    await platform.put(f"{RBAC}/clusterrolebindings/benchmarks", binding)
    wanted = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 24 * 3600},
    }
    answer = await platform.request("POST", f"{path}/token", wanted)
    folder.mkdir()
    (folder / "token").write_text(answer["status"]["token"])
    control_plane.authority.cert_pem.write_to_path(folder / "ca.crt")
    (folder / "namespace").write_text(SYSTEM)
    return folder


async def in_parallel[T](work: Callable[[T], Awaitable[object]], items: Iterable[T]) -> None:
    """Do the work for each item, some at a time."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(WIDTH):
            group.create_task(worker())
