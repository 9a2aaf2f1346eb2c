"""A real control plane of a test session, and the ways to talk to it."""

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kagenti_devcluster.cluster.controlplane import ControlPlane
from kagenti_operator.kube.auth.credentials import load_connection
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError

_DEADLINE_SECONDS = 30.0


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

    async def token(self, namespace: str, service_account: str, audiences: tuple[str, ...] = ()) -> str:
        """A token of a ServiceAccount, by TokenRequest."""
        spec: dict[str, Any] = {"expirationSeconds": 3600}
        if audiences:
            spec["audiences"] = list(audiences)
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        async with self.as_admin() as admin:
            answer = await admin.raw("POST", path, body=json.dumps(body).encode())
        return json.loads(answer)["status"]["token"]

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

    async def apply_crd(self, definition: Mapping[str, Any]) -> None:
        """Apply a CustomResourceDefinition and wait until it is served."""
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{definition['metadata']['name']}"
        async with self.as_admin() as admin, asyncio.timeout(_DEADLINE_SECONDS):
            await admin.raw(
                "PATCH",
                path,
                params={"fieldManager": "tests", "force": "true"},
                body=json.dumps(definition).encode(),
                content_type="application/apply-patch+yaml",
            )
            spec = definition["spec"]
            for version in spec["versions"]:
                served = f"/apis/{spec['group']}/{version['name']}/{spec['names']['plural']}"
                while version["served"] and not await _served(admin, served):
                    await asyncio.sleep(0.05)


async def _served(admin: KubeClient, path: str) -> bool:
    try:
        await admin.raw("GET", path, params={"limit": "1"})
    except ApiError as error:
        # 503 while the handler of a new CRD is being made.
        if error.not_found or error.status == 503:
            return False
        raise
    return True
