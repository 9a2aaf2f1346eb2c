"""A fresh control plane for each measurement, with the platform on it and an identity for the operator."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.subject import Credentials
from kagenti_devcluster.cluster.controlplane import ControlPlane
from kagenti_devcluster.testing.platform import FIXED_NAMESPACES, SYSTEM, Platform
from kagenti_devcluster.testing.service_account import make_admin, write_folder
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
            await make_admin(platform, SYSTEM, ACCOUNT)
            folder = directory / "service-account"
            await write_folder(platform, control_plane, folder, SYSTEM, ACCOUNT)
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


async def in_parallel[T](work: Callable[[T], Awaitable[object]], items: Iterable[T]) -> None:
    """Do the work for each item, some at a time."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(WIDTH):
            group.create_task(worker())
