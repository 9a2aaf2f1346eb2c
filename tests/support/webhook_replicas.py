"""Replicas of the operator that serve AuthBridge's webhook, and what stands for their Service."""

import asyncio
import base64
import ssl
import subprocess
import tempfile
import urllib.request
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from trustme import CA

from kagenti_devcluster.testing.platform import SYSTEM, Object, Platform, eventually
from kagenti_devcluster.testing.ports import free_port
from kagenti_devcluster.toolchain import binaries
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.runtime.telemetry.listener import BindAddress, Listener
from kagenti_operator.runtime.telemetry.serving_certificate import load_certificate
from kagenti_operator.runtime.webhook.admission import Review, build_admission_app
from tests.support.chart_permissions import ADMISSION, CHART
from tests.support.operator_process import OperatorProcess

VALUES = ("authbridge.enable=true", "defaults.images.authbridge=r/a:1", "defaults.images.proxyInit=r/i:1")
CONFIGURATION = f"{ADMISSION}/mutatingwebhookconfigurations/kagenti-controller-manager-webhook"
SECRET = f"/api/v1/namespaces/{SYSTEM}/secrets/kagenti-operator-webhook-server-cert"
_SERVICE = f"/api/v1/namespaces/{SYSTEM}/services/kagenti-controller-manager-webhook-service"
_PATHS = {
    "MutatingWebhookConfiguration": CONFIGURATION,
    "Secret": SECRET,
    "ConfigMap": f"/api/v1/namespaces/{SYSTEM}/configmaps/{{name}}",
}


def render_objects() -> list[Object]:
    """What the chart makes for AuthBridge beside permissions and the Deployment."""
    sets = [f"--set={value}" for value in VALUES]
    call = [binaries.find("helm"), "template", "x", CHART, "--namespace", SYSTEM, *sets]
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(call, env={"HOME": home}, capture_output=True, text=True, check=True)
    return [m for m in yaml.safe_load_all(done.stdout) if m["kind"] in _PATHS]


class Service:
    """Takes connections, and passes each to a replica that is there, in turn; closes it where none is."""

    def __init__(self) -> None:
        self.ports: list[int] = []
        self._turn = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._connect(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._turn += 1
        ends = [writer]
        try:
            for step in range(len(self.ports)):
                port = self.ports[(self._turn + step) % len(self.ports)]
                try:
                    there, back = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    continue
                ends.append(back)
                await asyncio.gather(_pump(reader, back), _pump(there, writer))
                break
        finally:
            for end in ends:
                end.transport.abort()

    async def close(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        writer.transport.abort()
    writer.close()


@dataclass
class Replica:
    """One replica, and where its probes are."""

    process: OperatorProcess
    probes: int
    metrics: int

    async def admissions(self) -> int:
        """How often it was asked about a pod."""
        text = await asyncio.to_thread(_read, f"http://127.0.0.1:{self.metrics}/metrics")
        series = "kagenti_authbridge_admissions_total{"
        return sum(
            int(float(line.rsplit(" ", 1)[1])) for line in text.splitlines() if line.startswith(series)
        )

    async def wait_ready(self) -> None:
        async def ready() -> None:
            status = await asyncio.to_thread(_status, f"http://127.0.0.1:{self.probes}/readyz")
            assert status == 200

        await eventually(ready)


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status
    except OSError:
        return 0


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


class Webhook:
    """The registered webhook, and its replicas."""

    def __init__(self, platform: Platform, kubeconfig: Path, service: Service) -> None:
        self.platform = platform
        self.service = service
        self._kubeconfig = kubeconfig
        self.replicas: list[Replica] = []

    async def start(self, *flags: str) -> Replica:
        """Start one more replica, and wait until it is ready."""
        port, probes, metrics = free_port(), free_port(), free_port()
        process = OperatorProcess(
            self._kubeconfig,
            "--leader-elect",
            f"--webhook-bind-address=127.0.0.1:{port}",
            f"--health-probe-bind-address=127.0.0.1:{probes}",
            f"--metrics-bind-address=127.0.0.1:{metrics}",
            "--metrics-secure=false",
            *flags,
            features=("--enable-authbridge",),
            environ={"POD_NAMESPACE": SYSTEM},
        )
        replica = Replica(process, probes, metrics)
        self.replicas.append(replica)
        await replica.wait_ready()
        self.service.ports.append(port)
        return replica

    async def bundle(self) -> str:
        """The bundle of authorities that the API server trusts, base64."""
        found = await self.platform.request("GET", CONFIGURATION)
        return found["webhooks"][0]["clientConfig"].get("caBundle", "")

    async def wait_trusted(self) -> None:
        """Wait until the API server reaches the webhook."""

        async def reached() -> None:
            pod = build_pod("probe", labels={"kagenti.io/type": "agent", "probe": "true"})
            try:
                await self.make_pod("webhook-probe", pod, dry_run=True)
            except ApiError as error:
                if "failed calling webhook" in str(error):
                    raise AssertionError("the webhook is not reached yet") from error
                raise

        await self.enable("webhook-probe")
        await eventually(reached)

    async def enable(self, namespace: str, base: Mapping[str, Any] | None = None) -> None:
        """Make a namespace that AuthBridge is switched on for, with a configuration that works."""
        labels = {"kagenti-enabled": "true"}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
        await self.platform.put(f"/api/v1/namespaces/{namespace}", body)
        self.platform.namespaces.add(namespace)
        text = yaml.safe_dump(dict(base or BASE))
        await self.platform.config_map(namespace, "authbridge-runtime-config", {"config.yaml": text})

    async def make_pod(self, namespace: str, pod: Object, *, dry_run: bool = False) -> Object:
        params = {"dryRun": "All"} if dry_run else None
        return await self.platform.request("POST", f"/api/v1/namespaces/{namespace}/pods", pod, params=params)


# A pipeline of its own: nothing has to be registered with Keycloak.
BASE: Mapping[str, Any] = {
    "pipeline": {
        "inbound": {
            "plugins": [
                {
                    "name": "jwt-validation",
                    "config": {
                        "issuer": "https://keycloak.example.org/realms/kagenti",
                        "keycloak_url": "http://keycloak-service.keycloak.svc:8080",
                        "keycloak_realm": "kagenti",
                    },
                }
            ]
        },
        "outbound": {"plugins": []},
    }
}


def build_pod(name: str, *, labels: Mapping[str, str] | None = None, **spec: Any) -> Object:
    """An agent's pod on port 8000."""
    container = {"name": "agent", "image": "example.org/agent:1", "ports": [{"containerPort": 8000}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": dict(labels or {"kagenti.io/type": "agent"})},
        "spec": {"containers": [container], **spec},
    }


def build_deployment(namespace: str, name: str, *, replicas: int = 1, **labels: str) -> Object:
    """A Deployment of an agent."""
    pod = build_pod(name, labels={"app": name, "kagenti.io/type": "agent", **labels})
    template = {"metadata": {"labels": pod["metadata"]["labels"]}, "spec": pod["spec"]}
    selector = {"matchLabels": {"app": name}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": {"kagenti.io/type": "agent"}},
        "spec": {"replicas": replicas, "selector": selector, "template": template},
    }


def containers_of(pod: Object) -> list[str]:
    return [container["name"] for container in pod["spec"]["containers"]]


@asynccontextmanager
async def registered_webhook(platform: Platform, kubeconfig: Path) -> AsyncGenerator[Webhook]:
    """Register the webhook as the chart does; nothing serves it yet. All is gone afterwards."""
    service = Service()
    server = await asyncio.start_server(service.accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    webhook = Webhook(platform, kubeconfig, service)
    # There is no network of pods here: what the API server resolves the Service to is this process.
    external = {"type": "ExternalName", "externalName": "localhost"}
    metadata = {"name": _SERVICE.rpartition("/")[2], "namespace": SYSTEM}
    paths: list[str] = [_SERVICE]
    try:
        await platform.put(
            _SERVICE, {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": external}
        )
        for manifest in render_objects():
            path = _PATHS[manifest["kind"]].format(name=manifest["metadata"]["name"])
            if path == CONFIGURATION:
                manifest["webhooks"][0]["clientConfig"]["service"]["port"] = port
            paths.append(path)
            await platform.put(path, manifest)
        yield webhook
    finally:
        for path in paths:
            await platform.delete(path)
        for replica in webhook.replicas:
            await asyncio.to_thread(replica.process.__exit__)
        server.close()
        await service.close()


@asynccontextmanager
async def another_webhook(platform: Platform, review: Review) -> AsyncGenerator[None]:
    """Somebody else's webhook for pods, served here and asked after AuthBridge's."""
    authority, path = CA(), "/mutate"
    leaf = authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem

    async def provide() -> ssl.SSLContext:
        return load_certificate(leaf.bytes())

    app = build_admission_app(path, review)
    listener = Listener("another webhook", app, BindAddress("127.0.0.1", 0), tls=provide)
    serving = asyncio.create_task(listener.run())
    await listener.ready.wait()
    bundle = base64.b64encode(authority.cert_pem.bytes()).decode()
    hook = {
        "name": "mesh.example.org",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": f"https://127.0.0.1:{listener.port}{path}", "caBundle": bundle},
        "rules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
        ],
        "sideEffects": "None",
    }
    # They are asked in the order of their names.
    where = f"{ADMISSION}/mutatingwebhookconfigurations/zz-mesh"
    kind = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "zz-mesh"},
    }
    try:
        await platform.put(where, {**kind, "webhooks": [hook]})
        yield
    finally:
        await platform.delete(where)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
