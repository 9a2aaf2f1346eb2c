"""A real control plane of a test session, and the ways to talk to it."""

import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from kagenti_devcluster.cluster.controlplane import ControlPlane
from kagenti_devcluster.testing.platform import Platform
from kagenti_devcluster.testing.service_account import request_token
from kagenti_operator.kube.auth.credentials import load_connection
from kagenti_operator.kube.client import KubeClient


class Cluster:
    """The session's control plane, and the ways to talk to it."""

    def __init__(self, control_plane: ControlPlane, directory: Path):
        self.control_plane = control_plane
        self._directory = directory

    @property
    def server_url(self) -> str:
        return self.control_plane.server_url

    @property
    def admin_kubeconfig(self) -> Path:
        return self.control_plane.admin_kubeconfig

    def connect(self, kubeconfig: Path | None = None) -> KubeClient:
        """A client with a kubeconfig's identity, the administrator's by default; the caller closes it."""
        return KubeClient(load_connection({"KUBECONFIG": str(kubeconfig or self.admin_kubeconfig)}))

    @asynccontextmanager
    async def as_admin(self) -> AsyncGenerator[KubeClient]:
        client = self.connect()
        try:
            yield client
        finally:
            await client.close()

    async def token(self, namespace: str, service_account: str) -> str:
        """A token of a ServiceAccount, by TokenRequest."""
        async with self.as_admin() as admin:
            return await request_token(Platform(admin), namespace, service_account)

    async def service_account_kubeconfig(self, namespace: str, service_account: str) -> Path:
        """A kubeconfig with which one is that ServiceAccount, which has to exist."""
        path = self._directory / f"{namespace}-{service_account}-{uuid.uuid4().hex[:8]}.kubeconfig"
        token = await self.token(namespace, service_account)
        return self.control_plane.kubeconfig_for_token(token, path, namespace)

    @asynccontextmanager
    async def as_service_account(self, namespace: str, service_account: str) -> AsyncGenerator[KubeClient]:
        client = self.connect(await self.service_account_kubeconfig(namespace, service_account))
        try:
            yield client
        finally:
            await client.close()
