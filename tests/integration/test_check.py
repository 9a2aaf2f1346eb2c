"""`kagenti-operator check` as `helm test` runs it, on pods whose probes a test answers."""

import asyncio

import pytest

from kagenti_devcluster.testing.platform import Platform
from kagenti_devcluster.testing.ports import free_port
from kagenti_operator.cli.main import main
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.runtime.telemetry.health import Health
from kagenti_operator.runtime.telemetry.listener import BindAddress, Listener
from tests.support.cluster import Cluster

LABELS = {"app.kubernetes.io/name": "kagenti-operator", "app.kubernetes.io/component": "controller-manager"}


class Replica:
    """A pod of an operator, and what its probes answer."""

    def __init__(self, api: Platform, namespace: str) -> None:
        self._api = api
        self.namespace = namespace
        self.port = free_port()
        self.problem = ""

    async def make(self, name: str = "operator-1") -> None:
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "operator"}}
        await self._api.put(f"/api/v1/namespaces/{self.namespace}/serviceaccounts/operator", account)
        container = {"name": "manager", "image": "example.org/operator:1"}
        body = {
            "metadata": {"name": name, "labels": LABELS},
            "spec": {"containers": [container], "serviceAccountName": "operator"},
        }
        await self._api.request("POST", f"/api/v1/namespaces/{self.namespace}/pods", body)

    async def evict(self, name: str) -> None:
        path = f"/api/v1/namespaces/{self.namespace}/pods/{name}/status"
        await self._api.patch(path, {"status": {"phase": "Failed", "reason": "Evicted"}})

    async def start(self) -> None:
        path = f"/api/v1/namespaces/{self.namespace}/pods/operator-1/status"
        await self._api.patch(path, {"status": {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}})

    async def serve(self) -> None:
        health = Health()
        health.ready["informers"] = lambda: self.problem
        await Listener("probes", health.build_app(), BindAddress("127.0.0.1", self.port)).run()


@pytest.fixture
async def replica(
    cluster: Cluster, admin: KubeClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> Replica:
    monkeypatch.setenv("KUBECONFIG", str(cluster.admin_kubeconfig))
    monkeypatch.setenv("POD_NAMESPACE", namespace)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    return Replica(Platform(admin), namespace)


async def check(replica: Replica, *flags: str, seconds: str = "0.1") -> int:
    port = f"--health-probe-port={replica.port}"
    return await asyncio.to_thread(main, ["check", port, f"--timeout={seconds}", *flags])


async def test_it_says_what_is_missing_on_the_way_to_all_being_well(
    replica: Replica, capsys: pytest.CaptureFixture[str]
) -> None:
    async def refused(*words: str, flags: tuple[str, ...] = ()) -> None:
        assert await check(replica, *flags) == 1
        output = capsys.readouterr().err
        assert f"check failed in namespace {replica.namespace}" in output
        for word in words:
            assert word in output

    await replica.make("operator-0")
    await replica.evict("operator-0")
    await refused("no pod has the labels", "app.kubernetes.io/component=controller-manager")
    await replica.make()
    await refused("pod operator-1 has not started", "kubectl describe pod operator-1")
    await replica.start()
    await refused("pod operator-1 does not answer /healthz", "Cannot connect")

    serving = asyncio.create_task(replica.serve())
    try:
        replica.problem = "not complete: deployments"
        await refused("pod operator-1 answers /readyz with 500", "not complete: deployments")
        replica.problem = ""
        assert await check(replica, seconds="30") == 0
        assert capsys.readouterr().out == "pod operator-1 answers /healthz and /readyz\n"
        await refused(
            "ConfigMap otel-collector-config does not exist", flags=("--enable-otel-bootstrap=true",)
        )
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
