"""A cluster without a platform, as the tests of the node use it."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from kagenti_devcluster.host.options import ClusterOptions, Published
from kagenti_devcluster.host.paths import StatePaths
from kagenti_operator.kube.auth.credentials import load_connection
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import ApiError

DEADLINE_SECONDS = 60.0
_POLL_SECONDS = 0.05

IMAGES = """\
images:
- image: example/python
  entrypoint: ["{python}", -u]
- image: example/shell
  entrypoint: [sh, -c]
  env: {FROM_IMAGE: "yes"}
- image: example/typo
  entrypoint: ["{bin:foo}"]
- image: example/outgoing
  entrypoint: ["{python}", -u]
  egress: true
"""

# Answers every GET with the file or text that it was started with.
SERVER = """\
import http.server, os, pathlib, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        source = sys.argv[1]
        text = pathlib.Path(source).read_text() if source.startswith("/") else os.environ[source]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())
http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
"""


def build_options(directory: Path, *, published: tuple[Published, ...] = ()) -> ClusterOptions:
    """Options of a bare cluster with the images above."""
    images = directory.parent / "images.yaml"
    images.write_text(IMAGES)
    return ClusterOptions(directory=directory, bare=True, images=images, published=published)


def pod_spec(command: str, **fields: Any) -> dict[str, Any]:
    """A pod of one container that runs a shell command."""
    container = {"name": "main", "image": "example/shell", "args": [command]}
    return {"containers": [{**container, **fields.pop("container", {})}], **fields}


class NodeCluster:
    """A running cluster."""

    def __init__(self, options: ClusterOptions, addresses: Mapping[str, str]):
        self.options = options
        self.paths = StatePaths(options.directory)
        self.addresses = addresses

    @asynccontextmanager
    async def as_admin(self) -> AsyncGenerator[KubeClient]:
        client = KubeClient(load_connection({"KUBECONFIG": str(self.paths.kubeconfig)}))
        try:
            yield client
        finally:
            await client.close()

    @asynccontextmanager
    async def open_bench(self, namespace: str) -> AsyncGenerator["Bench"]:
        """A namespace to work in, deleted in the end."""
        async with self.as_admin() as client:
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            await client.raw("POST", "/api/v1/namespaces", body=json.dumps(body).encode())
            yield Bench(self, client, namespace)
            await client.raw("DELETE", f"/api/v1/namespaces/{namespace}")


class Bench:
    """One test's namespace on the cluster, and what it does there."""

    def __init__(self, cluster: NodeCluster, client: KubeClient, namespace: str):
        self.cluster = cluster
        self.client = client
        self.namespace = namespace

    def path(self, kind: str, name: str = "") -> str:
        groups = {
            "deployments": "/apis/apps/v1",
            "jobs": "/apis/batch/v1",
            "statefulsets": "/apis/apps/v1",
            "endpointslices": "/apis/discovery.k8s.io/v1",
        }
        base = f"{groups.get(kind, '/api/v1')}/namespaces/{self.namespace}/{kind}"
        return f"{base}/{name}" if name else base

    async def create(self, manifest: str | Mapping[str, Any]) -> None:
        """Create an object of this namespace; ServiceAccounts of a new namespace may take a moment."""
        body: dict[str, Any] = yaml.safe_load(manifest) if isinstance(manifest, str) else dict(manifest)
        plural = f"{body['kind'].lower()}s"
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                try:
                    await self.client.raw("POST", self.path(plural), body=json.dumps(body).encode())
                except ApiError as error:
                    if "serviceaccount" not in error.message:
                        raise
                    await asyncio.sleep(_POLL_SECONDS)
                else:
                    return

    async def create_pod(self, name: str, spec: Mapping[str, Any], **labels: str) -> None:
        metadata = {"name": name, "labels": labels}
        await self.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})

    async def create_config_map(self, name: str, **data: str) -> None:
        metadata = {"name": name}
        await self.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})

    async def patch(self, kind: str, name: str, body: Mapping[str, Any]) -> None:
        content_type = "application/merge-patch+json"
        await self.client.raw(
            "PATCH", self.path(kind, name), body=json.dumps(body).encode(), content_type=content_type
        )

    async def get(self, kind: str, name: str = "") -> dict[str, Any]:
        return json.loads(await self.client.raw("GET", self.path(kind, name)))

    async def delete(self, kind: str, name: str) -> None:
        await self.client.raw("DELETE", self.path(kind, name))

    async def exists(self, kind: str, name: str) -> bool:
        try:
            await self.get(kind, name)
        except ApiError as error:
            if error.not_found:
                return False
            raise
        return True

    async def until(self, what: str, condition: Callable[[], Awaitable[bool]]) -> None:
        """Wait until something holds; fails with what that is."""
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not await condition():
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise AssertionError(f"never happened: {what}; pods: {await self._describe()}") from None

    async def _status(self, pod: str) -> dict[str, Any]:
        """A pod's status; empty while a controller has not made it yet."""
        try:
            return (await self.get("pods", pod))["status"]
        except ApiError as error:
            if error.not_found:
                return {}
            raise

    async def _describe(self) -> str:
        pods = (await self.get("pods"))["items"]
        return json.dumps({pod["metadata"]["name"]: pod["status"] for pod in pods}, indent=1)

    async def until_phase(self, pod: str, phase: str) -> dict[str, Any]:
        """Wait for a pod's phase; returns its status."""

        async def reached() -> bool:
            return (await self._status(pod)).get("phase") == phase

        await self.until(f"pod {pod} is {phase}", reached)
        return (await self.get("pods", pod))["status"]

    async def until_ready(self, pod: str) -> dict[str, Any]:
        """Wait until a pod is ready; returns its status."""

        async def ready() -> bool:
            conditions = (await self._status(pod)).get("conditions", [])
            return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

        await self.until(f"pod {pod} is ready", ready)
        return (await self.get("pods", pod))["status"]

    async def until_logged(self, pod: str, text: str, container: str = "main") -> str:
        """Wait until a container has printed something; returns its whole log."""

        async def printed() -> bool:
            return text in self.log(pod, container)

        await self.until(f"{pod} prints {text!r}, but: {self.log(pod, container)!r}", printed)
        return self.log(pod, container)

    def log(self, pod: str, container: str = "main") -> str:
        path = self.cluster.paths.container_log(self.namespace, pod, container)
        return path.read_text() if path.exists() else ""
