"""AuthBridge's webhook on the real API server, served by the operator as its chart permits it."""

import asyncio
import base64
import uuid
from collections.abc import AsyncIterator

import pytest

from kagenti_devcluster.testing.platform import (
    SYSTEM,
    Object,
    Platform,
    config_map_path,
    eventually,
    workload_path,
)
from kagenti_operator.kube.errors import ApiError
from kagenti_operator.runtime.webhook.admission import AdmissionRequest, AdmissionResponse, allow
from tests.support.chart_permissions import granted_account
from tests.support.cluster import Cluster
from tests.support.webhook_replicas import (
    CONFIGURATION,
    SECRET,
    VALUES,
    Webhook,
    another_webhook,
    build_deployment,
    build_pod,
    containers_of,
    registered_webhook,
)

ACCOUNT = "authbridge-operator"


@pytest.fixture
async def webhook(platform: Platform, cluster: Cluster) -> AsyncIterator[Webhook]:
    """The webhook as the chart registers it; nothing serves it yet."""
    async with granted_account(platform, ACCOUNT, openshift=False, more=VALUES):
        kubeconfig = await cluster.service_account_kubeconfig(SYSTEM, ACCOUNT)
        async with registered_webhook(platform, kubeconfig) as webhook:
            yield webhook


@pytest.fixture
def space() -> str:
    """The name of a namespace of this test's own."""
    return f"bridge-{uuid.uuid4().hex[:6]}"


async def pods_of(platform: Platform, namespace: str) -> list[Object]:
    found = await platform.request("GET", f"/api/v1/namespaces/{namespace}/pods")
    return found["items"]


async def expect_pods(platform: Platform, namespace: str, count: int) -> list[Object]:
    async def there() -> list[Object]:
        found = await pods_of(platform, namespace)
        assert len(found) == count
        return found

    return await eventually(there)


async def test_an_agents_pod_gets_its_sidecar_and_the_file_that_it_reads(
    webhook: Webhook, platform: Platform, space: str
) -> None:
    await webhook.start()
    await webhook.wait_trusted()
    await webhook.enable(space)
    made = await platform.put(workload_path(space, "weather"), build_deployment(space, "weather"))
    [pod] = await expect_pods(platform, space, 1)
    assert containers_of(pod) == ["agent", "authbridge-proxy"]
    file = await platform.request("GET", config_map_path(space, "authbridge-config-weather"))
    [owner] = file["metadata"]["ownerReferences"]
    assert owner == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "weather",
        "uid": made["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    assert "reverse_proxy_addr: :8000" in file["data"]["config.yaml"].replace("'", "").replace('"', "")
    # What nobody labelled, and what lives elsewhere, is nobody's business.
    assert containers_of(await webhook.make_pod(space, build_pod("plain", labels={"a": "b"}))) == ["agent"]
    # The garbage collector takes the file with the workload.
    await platform.delete(workload_path(space, "weather"))

    async def gone() -> None:
        assert await platform.get(config_map_path(space, "authbridge-config-weather")) is None

    await eventually(gone)


async def test_a_dry_run_shows_the_pod_and_writes_nothing(
    webhook: Webhook, platform: Platform, space: str
) -> None:
    await webhook.start()
    await webhook.wait_trusted()
    await webhook.enable(space)
    pod = await webhook.make_pod(space, build_pod("lonely"), dry_run=True)
    assert containers_of(pod) == ["agent", "authbridge-proxy"]
    assert await platform.get(config_map_path(space, "authbridge-config-lonely")) is None
    await webhook.make_pod(space, build_pod("lonely"))
    file = await platform.request("GET", config_map_path(space, "authbridge-config-lonely"))
    assert "ownerReferences" not in file["metadata"]


async def test_a_pod_that_another_webhook_changes_is_asked_about_again_and_gets_one_sidecar(
    webhook: Webhook, platform: Platform, space: str
) -> None:
    replica = await webhook.start()
    await webhook.wait_trusted()
    await webhook.enable(space)

    async def add_mesh(request: AdmissionRequest) -> AdmissionResponse:
        mesh = {"name": "mesh", "image": "example.org/mesh:1"}
        return allow(request, patch=[{"op": "add", "path": "/spec/containers/-", "value": mesh}])

    async with another_webhook(platform, add_mesh):

        async def meshed() -> Object:
            pod = await webhook.make_pod(space, build_pod("agent"), dry_run=True)
            assert "mesh" in containers_of(pod)
            return pod

        assert containers_of(await eventually(meshed)) == ["agent", "authbridge-proxy", "mesh"]
        asked = await replica.admissions()
        await meshed()
        assert await replica.admissions() == asked + 2


async def test_what_would_not_protect_is_refused_with_what_to_mend_and_an_event(
    webhook: Webhook, platform: Platform, space: str
) -> None:
    await webhook.start()
    await webhook.wait_trusted()
    await webhook.enable(space)
    await platform.config_map(space, "authbridge-runtime-config", {"config.yaml": "pipeline: ["})

    async def refused() -> None:
        made = webhook.make_pod(space, build_pod("lonely"), dry_run=True)
        [answer] = await asyncio.gather(made, return_exceptions=True)
        assert "authbridge-runtime-config" in str(answer)

    await eventually(refused)
    await platform.put(workload_path(space, "weather"), build_deployment(space, "weather"))

    async def told() -> None:
        # By the webhook, and by who keeps the workload's file, which knows before a pod is refused.
        reasons = {event["reason"] for event in await platform.events(space, "weather")}
        assert "AuthBridgeRefused" in reasons

    await eventually(told)
    assert await pods_of(platform, space) == []


async def test_a_review_that_did_not_come_from_the_api_server_changes_no_workloads_file(
    webhook: Webhook, platform: Platform, space: str
) -> None:
    await webhook.start()
    await webhook.wait_trusted()
    await webhook.enable(space)
    await platform.put(workload_path(space, "weather"), build_deployment(space, "weather"))
    await expect_pods(platform, space, 1)
    before = await platform.request("GET", config_map_path(space, "authbridge-config-weather"))
    # An own pod of the tenant's that claims the name; made directly, so that it reaches the webhook as it is.
    claimed = build_pod("weather")
    claimed["spec"]["containers"][0]["ports"] = [{"containerPort": 9000}]
    with pytest.raises(ApiError, match="belongs to a workload that the pod is not of"):
        await webhook.make_pod(space, claimed)
    invented = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "name": "weather",
        "uid": str(uuid.uuid4()),
        "controller": True,
    }
    claimed["metadata"]["ownerReferences"] = [invented]
    with pytest.raises(ApiError, match="which the API server does not know"):
        await webhook.make_pod(space, claimed)
    after = await platform.request("GET", config_map_path(space, "authbridge-config-weather"))
    assert after["data"] == before["data"]


async def test_with_no_replica_pods_of_agents_wait_and_all_others_start(
    webhook: Webhook, platform: Platform, space: str, team: str
) -> None:
    await webhook.enable(space)
    await platform.put(workload_path(space, "weather"), build_deployment(space, "weather"))
    with pytest.raises(ApiError, match="failed calling webhook"):
        await webhook.make_pod(space, build_pod("lonely"))
    # Everything else in that namespace, agents that opted out, and agents of other namespaces.
    await webhook.make_pod(space, build_pod("plain", labels={"a": "b"}))
    opted_out = {"kagenti.io/type": "agent", "kagenti.io/inject": "disabled"}
    await webhook.make_pod(space, build_pod("out", labels=opted_out))
    await webhook.make_pod(team, build_pod("elsewhere"))
    assert {pod["metadata"]["name"] for pod in await pods_of(platform, space)} == {"plain", "out"}
    await webhook.start()
    await webhook.wait_trusted()

    # The ReplicaSet's controller tries again by itself, the later the longer it waited.
    async def started() -> None:
        found = {p["metadata"]["labels"].get("app"): containers_of(p) for p in await pods_of(platform, space)}
        assert found.get("weather") == ["agent", "authbridge-proxy"]

    await eventually(started)


async def test_pods_are_admitted_while_the_leader_of_three_dies(
    webhook: Webhook, platform: Platform, space: str
) -> None:
    leader = await webhook.start()
    await asyncio.gather(webhook.start(), webhook.start())
    await webhook.wait_trusted()
    await webhook.enable(space)
    for number in range(30):
        if number == 10:
            # What it was answering is lost; from when it is gone nothing is.
            await asyncio.to_thread(leader.process.kill)
        pod = await webhook.make_pod(space, build_pod(f"agent-{number}"), dry_run=True)
        assert containers_of(pod) == ["agent", "authbridge-proxy"]
    # Files are written by whoever is asked, leader or not.
    await webhook.make_pod(space, build_pod("after"))
    assert await platform.get(config_map_path(space, "authbridge-config-after"))


async def test_a_new_authority_is_trusted_before_it_is_used(
    webhook: Webhook, platform: Platform, space: str
) -> None:
    replica = await webhook.start()
    await webhook.wait_trusted()
    await webhook.enable(space)
    before = await webhook.bundle()
    admitted = 0
    renewed = asyncio.Event()

    async def load() -> None:
        nonlocal admitted
        while not renewed.is_set():
            pod = await webhook.make_pod(space, build_pod(f"agent-{admitted}"), dry_run=True)
            assert containers_of(pod) == ["agent", "authbridge-proxy"]
            admitted += 1

    loading = asyncio.create_task(load())
    # As if everything had been lost: the worst that renewal has to bridge.
    await platform.delete(SECRET)
    message = "Serving the webhook with a new certificate"

    async def served() -> None:
        if loading.done():
            loading.result()
        assert len(replica.process.logged(message)) == 2

    await eventually(served)
    more = admitted + 20

    async def goes_on() -> None:
        if loading.done():
            loading.result()
        assert admitted > more

    await eventually(goes_on)
    renewed.set()
    await loading
    after = await webhook.bundle()
    assert after != before
    # What another replica may still show is trusted as well.
    assert base64.b64decode(before) in base64.b64decode(after)
    # Somebody who takes the bundle out stops nobody for long.
    found = await platform.request("GET", CONFIGURATION)
    found["webhooks"][0]["clientConfig"].pop("caBundle")
    await platform.request("PUT", CONFIGURATION, found)

    async def restored() -> None:
        assert await webhook.bundle() == after

    await eventually(restored)


@pytest.mark.parametrize(
    ("kind", "name", "managed"),
    [
        ("ConfigMap", "settings-of-the-team", True),
        ("ConfigMap", "authbridge-config-weather", False),
        ("ServiceAccount", "weather", False),
    ],
)
async def test_the_operators_token_makes_nothing_but_what_admission_writes(
    platform: Platform, cluster: Cluster, team: str, kind: str, name: str, managed: bool
) -> None:
    async with granted_account(platform, ACCOUNT, openshift=False, more=VALUES):
        labels = {"kagenti.io/managed-by": "webhook"} if managed else {}
        body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "labels": labels}}
        collection = f"/api/v1/namespaces/{team}/{kind.lower()}s"
        async with cluster.as_service_account(SYSTEM, ACCOUNT) as operator:

            async def refused() -> None:
                made = Platform(operator).request("POST", collection, body, params={"dryRun": "All"})
                [answer] = await asyncio.gather(made, return_exceptions=True)
                assert "the operator" in str(answer)

            # The API server takes a moment to compile a policy.
            await eventually(refused)
