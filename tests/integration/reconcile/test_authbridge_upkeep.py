"""What AuthBridge needs around admission, kept on the real API server; the tests play the sidecars."""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from kagenti_devcluster.testing.platform import (
    RBAC,
    SYSTEM,
    Object,
    Platform,
    always,
    build_crd,
    config_map_path,
    eventually,
    workload_path,
)
from kagenti_operator.controllers.authbridge import upkeep_feature
from kagenti_operator.controllers.authbridge.facts import AuthBridgeFacts
from kagenti_operator.controllers.dependencies import Dependencies
from kagenti_operator.controllers.openshift import retry_informers
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.auth.credentials import load_connection
from kagenti_operator.kube.auth.rotation import FixedToken
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.resources import CUSTOM_RESOURCE_DEFINITIONS
from kagenti_operator.mlflow.client import MLflowClient
from kagenti_operator.runtime.cache.object_cache import Selection
from kagenti_operator.runtime.cache.shared_informers import SharedInformers
from kagenti_operator.runtime.control.manager import Manager
from kagenti_operator.runtime.election.leader import Leadership
from kagenti_operator.runtime.observable import Observable
from kagenti_operator.runtime.telemetry.events import EventRecorder
from kagenti_operator.runtime.telemetry.health import Health
from kagenti_operator.runtime.telemetry.metrics import Metrics
from tests.integration.reconcile.test_sandboxes import build_crd as build_sandbox_crd
from tests.integration.reconcile.test_sandboxes import sandbox_path
from tests.support.chart_permissions import granted_account
from tests.support.cluster import Cluster
from tests.support.expectations import expect_event

ACCOUNT = "upkeep"
VALUES = ("authbridge.enable=true", "authbridge.scc.name=kagenti-authbridge")
PLATFORM_CONFIG = {"images": {"authbridge": "r/a:1", "authbridgeLite": "r/l:1", "proxyInit": "r/i:1"}}
HASH = "kagenti.io/config-hash"
SCC = "system:openshift:scc:kagenti-authbridge"
CERTIFICATES = "/apis/cert-manager.io/v1/namespaces/{}/certificates/{}"


@dataclass
class Upkeep:
    """The feature at work in this process, and the writes that it sent."""

    kubeconfig: Path
    is_openshift: bool = False
    writes: list[str] = field(default_factory=list[str])

    def observe(self, method: str, *_: Any) -> None:
        if method in ("POST", "PATCH", "PUT", "DELETE"):
            self.writes.append(method)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        settings = Settings(
            keycloak_public_url="https://login.example.com",
            authbridge_scc="kagenti-authbridge" if self.is_openshift else "",
        )
        rng, metrics = random.Random(3), Metrics()
        connection = load_connection({"KUBECONFIG": str(self.kubeconfig)})
        mlflow = MLflowClient(token=FixedToken("unused"), rng=rng)
        async with (
            KubeClient(connection, observer=self.observe, rng=rng) as client,
            KubeClient(connection, rng=rng) as for_events,
        ):
            events = EventRecorder(for_events, instance="tests", rng=rng)
            dependencies = Dependencies(
                settings=settings,
                client=client,
                informers=SharedInformers(client, rng),
                mlflow=mlflow,
                agents_mlflow=mlflow,
                events=events,
                metrics=metrics,
                rng=rng,
                **unfenced(client, events),
            )
            facts = AuthBridgeFacts(dependencies, Observable[bool | None](self.is_openshift))
            feature = upkeep_feature.build_feature(dependencies, facts)
            crds = dependencies.informers.get(Selection(resource=CUSTOM_RESOURCE_DEFINITIONS))
            crds.subscribe(lambda event: retry_informers(dependencies.informers, event))
            manager = Manager(
                informers=(*feature.informers, crds),
                controllers=feature.controllers,
                elector=None,
                leadership=Leadership(),
                health=Health(),
                always={"events": events.run},
            )
            stop = asyncio.Event()
            task = asyncio.create_task(manager.run(stop))
            try:
                yield
            finally:
                stop.set()
                await task
                await mlflow.close()


def unfenced(client: KubeClient, events: EventRecorder) -> dict[str, Any]:
    """What every replica may use, where the operator has that."""
    found = {"unfenced": client, "unfenced_events": events}
    return {name: value for name, value in found.items() if name in Dependencies.__dataclass_fields__}


@pytest.fixture
async def upkeep(cluster: Cluster, platform: Platform) -> AsyncIterator[Upkeep]:
    """With what the chart grants, and under its policies."""
    await platform.config_map(SYSTEM, "kagenti-platform-config", {"config.yaml": json.dumps(PLATFORM_CONFIG)})
    async with granted_account(platform, ACCOUNT, openshift=True, more=VALUES):
        yield Upkeep(await cluster.service_account_kubeconfig(SYSTEM, ACCOUNT))


@pytest.fixture
async def team(platform: Platform, team: str) -> str:
    await label(platform, team, enabled=True)
    return team


async def label(platform: Platform, namespace: str, *, enabled: bool) -> None:
    labels = {"kagenti-enabled": "true" if enabled else None}
    await platform.patch(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": labels}})


async def agent(platform: Platform, namespace: str, name: str = "weather", *, port: int = 8000) -> Object:
    """An agent with pods that no webhook has seen."""
    labels = {"app": name, "kagenti.io/type": "agent"}
    container = {"name": "agent", "image": "r/weather:1", "ports": [{"containerPort": port}]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template},
    }
    return await platform.put(workload_path(namespace, name), body)


async def find(platform: Platform, path: str) -> Object:
    found = await platform.get(path)
    assert found is not None
    return found


async def file_of(platform: Platform, namespace: str, name: str = "weather") -> Object:
    return await find(platform, config_map_path(namespace, f"authbridge-config-{name}"))


async def rolled(platform: Platform, path: str, field_: str = "template") -> str:
    """With which hash the operator replaced the pods."""
    template = (await find(platform, path))["spec"][field_]
    value: str | None = template.get("metadata", {}).get("annotations", {}).get(HASH)
    assert value
    return value


async def expect_rest(upkeep: Upkeep) -> None:
    """Nothing is written any more."""
    seen = -1

    async def still() -> None:
        nonlocal seen
        before, seen = seen, len(upkeep.writes)
        await asyncio.sleep(0.5)
        assert before == len(upkeep.writes)

    await eventually(still)


async def test_a_namespace_is_filled_in_and_its_own_keys_stay(
    upkeep: Upkeep, platform: Platform, team: str
) -> None:
    path = config_map_path(team, "authbridge-config")
    await platform.config_map(team, "authbridge-config", {"KEYCLOAK_REALM": "theirs"})
    await platform.config_map(SYSTEM, "authbridge-runtime-config", {"config.yaml": "mode: lite\n"})
    other = f"{team}-plain"
    await platform.namespace(other)
    async with upkeep.running():

        async def filled_in() -> Object:
            found = await find(platform, path)
            assert found["data"].get("ISSUER") == "https://login.example.com/realms/theirs"
            copied = await find(platform, config_map_path(team, "authbridge-runtime-config"))
            assert copied["data"] == {"config.yaml": "mode: lite\n"}
            return found

        found = await eventually(filled_in)
        assert found["metadata"]["labels"]["kagenti.io/defaults"] == "true"
        await platform.patch(path, {"data": {"ISSUER": "https://elsewhere"}})
        await platform.patch(path, {"data": {"JWT_AUDIENCE": None}})

        async def missing_again() -> None:
            data = (await find(platform, path))["data"]
            assert data["ISSUER"] == "https://elsewhere"
            assert data.get("JWT_AUDIENCE") == "https://login.example.com/realms/theirs"

        await eventually(missing_again)
        await expect_rest(upkeep)
        entries = (await find(platform, path))["metadata"]["managedFields"]
        [ours] = [it for it in entries if it["manager"] == "kagenti-operator"]
        # Who sets it without force, by server-side apply, is in conflict with nobody of ours.
        assert not {"f:ISSUER", "f:KEYCLOAK_REALM"} & ours["fieldsV1"]["f:data"].keys()
        assert await platform.get(config_map_path(other, "authbridge-config")) is None
        await label(platform, team, enabled=False)
        await expect_rest(upkeep)
    assert (await find(platform, path))["data"]["KEYCLOAK_REALM"] == "theirs"


async def test_pods_from_before_are_replaced_once_and_a_pipeline_only_reaches_the_file(
    upkeep: Upkeep, platform: Platform, team: str
) -> None:
    path = workload_path(team, "weather")
    await agent(platform, team)

    async def has_pods() -> None:
        assert (await find(platform, path)).get("status", {}).get("replicas") == 1

    await eventually(has_pods)
    async with upkeep.running():
        first = await eventually(lambda: rolled(platform, path))
        file = await file_of(platform, team)
        assert file["metadata"]["annotations"][HASH] == first
        [owner] = file["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["controller"]) == ("Deployment", "weather", True)
        assert yaml.safe_load(file["data"]["config.yaml"])["listener"]["reverse_proxy_addr"] == ":8000"
        await expect_rest(upkeep)
        generation = (await find(platform, path))["metadata"]["generation"]
        assert generation == 2

        await platform.patch(config_map_path(team, "authbridge-config"), {"data": {"ISSUER": "https://new"}})

        async def in_the_file() -> None:
            assert "https://new" in (await file_of(platform, team))["data"]["config.yaml"]

        await eventually(in_the_file)
        await expect_rest(upkeep)
        assert (await find(platform, path))["metadata"]["generation"] == generation

    # Another leader writes nothing.
    upkeep.writes.clear()
    async with upkeep.running():
        await expect_rest(upkeep)
    assert upkeep.writes == []


async def test_a_file_stays_as_it_is_under_running_replicas_and_what_is_bad_is_reported(
    upkeep: Upkeep, platform: Platform, team: str
) -> None:
    path = workload_path(team, "weather")
    await agent(platform, team)
    async with upkeep.running():
        first = await eventually(lambda: rolled(platform, path))
        before = (await file_of(platform, team))["data"]
        await expect_rest(upkeep)

        await platform.config_map(team, "authbridge-runtime-config", {"config.yaml": "mode: ["})
        await expect_event(platform, team, "weather", "AuthBridgeRefused", "authbridge-runtime-config")
        await expect_rest(upkeep)
        assert (await file_of(platform, team))["data"] == before
        assert await rolled(platform, path) == first

        await platform.config_map(team, "authbridge-runtime-config", {"config.yaml": "mode: lite"})

        async def replaced() -> None:
            assert await rolled(platform, path) != first

        await eventually(replaced)
        await expect_rest(upkeep)
        # Admission writes it, with the first new pod.
        assert (await file_of(platform, team))["data"] == before
        assert (await find(platform, path))["metadata"]["generation"] == 3


async def test_a_change_of_the_users_own_does_not_replace_pods_twice(
    upkeep: Upkeep, platform: Platform, team: str
) -> None:
    path = workload_path(team, "weather")
    await agent(platform, team)
    async with upkeep.running():
        first = await eventually(lambda: rolled(platform, path))
        await expect_rest(upkeep)
        container = {"name": "agent", "image": "r/weather:1", "ports": [{"containerPort": 8500}]}
        changed = {"spec": {"template": {"spec": {"containers": [container]}}}}
        generation = (await platform.patch(path, changed))["metadata"]["generation"]
        await expect_rest(upkeep)
        assert await rolled(platform, path) == first
        assert (await find(platform, path))["metadata"]["generation"] == generation


async def test_a_sandbox_is_suspended_and_resumed_also_by_the_next_leader(
    upkeep: Upkeep, platform: Platform, team: str
) -> None:
    crd, version = build_sandbox_crd("v1beta1"), "v1beta1"
    await platform.install_crd(crd)
    path = sandbox_path(team, "coder", version)
    metadata = {"name": "coder", "namespace": team, "labels": {"kagenti.io/type": "agent"}}
    pod = {"containers": [{"name": "agent", "image": "r/coder:1", "ports": [{"containerPort": 8000}]}]}
    template = {"metadata": {"labels": {"kagenti.io/type": "agent"}}, "spec": pod}
    body = {"apiVersion": f"agents.x-k8s.io/{version}", "kind": "Sandbox", "metadata": metadata}
    await platform.put(path, {**body, "spec": {"podTemplate": template}})
    await set_status(platform, path, replicas=1)
    async with upkeep.running():

        async def suspended() -> None:
            spec = (await find(platform, path))["spec"]
            assert spec["operatingMode"] == "Suspended"

        await eventually(suspended)
        value = await rolled(platform, path, "podTemplate")
        await expect_rest(upkeep)
        await suspended()
    # The operator died; its pod goes meanwhile.
    await set_status(platform, path, replicas=0)
    async with upkeep.running():

        async def resumed() -> None:
            spec = (await find(platform, path))["spec"]
            assert spec["operatingMode"] == "Running"

        await eventually(resumed)
        await set_status(platform, path, replicas=1)
        await expect_rest(upkeep)
        assert await rolled(platform, path, "podTemplate") == value
        assert (
            "kagenti.io/resume"
            not in (await find(platform, path))["spec"]["podTemplate"]["metadata"]["annotations"]
        )
    await platform.remove_crd(crd)


async def set_status(platform: Platform, path: str, *, replicas: int) -> None:
    """As agent-sandbox says whether there is a pod."""
    generation = (await find(platform, path))["metadata"]["generation"]
    running = {"type": "Ready", "status": "True" if replicas else "False"}
    stopped = {
        "type": "Suspended",
        "status": "False" if replicas else "True",
        "observedGeneration": generation,
    }
    await platform.patch(
        f"{path}/status", {"status": {"replicas": replicas, "conditions": [running, stopped]}}
    )


async def test_constraints_are_granted_where_the_label_is(
    upkeep: Upkeep, platform: Platform, team: str
) -> None:
    upkeep.is_openshift = True
    rule = {"apiGroups": ["security.openshift.io"], "resources": ["securitycontextconstraints"]}
    await platform.cluster_role(SCC, [{**rule, "resourceNames": ["kagenti-authbridge"], "verbs": ["use"]}])
    path = f"{RBAC}/namespaces/{team}/rolebindings/agent-authbridge-scc"
    async with upkeep.running():
        binding = await eventually(lambda: find(platform, path))
        assert binding["roleRef"]["name"] == SCC
        assert [it["name"] for it in binding["subjects"]] == [f"system:serviceaccounts:{team}"]
        assert [it["kind"] for it in binding["metadata"]["ownerReferences"]] == ["ClusterRole"]
        await expect_rest(upkeep)
        await label(platform, team, enabled=False)

        async def revoked() -> None:
            assert await platform.get(path) is None

        await eventually(revoked)
    await platform.delete(f"{RBAC}/clusterroles/{SCC}")


async def test_the_bridges_authority_is_asked_for_where_cert_manager_is(
    upkeep: Upkeep, platform: Platform, team: str
) -> None:
    path = workload_path(team, "weather")
    await platform.config_map(
        team, "authbridge-runtime-config", {"config.yaml": "tls_bridge: {mode: enabled}"}
    )
    await agent(platform, team)
    crds = [
        build_crd("cert-manager.io", "v1", kind, plural, scope="Namespaced")
        for kind, plural in (("Certificate", "certificates"), ("Issuer", "issuers"))
    ]
    for crd in crds:
        await platform.remove_crd(crd)
    async with upkeep.running():
        await expect_event(
            platform, team, "weather", "TLSBridgeWithoutCertificate", "cert-manager is not installed"
        )
        for crd in crds:
            await platform.install_crd(crd)
        name = "weather-tls-bridge-ca"
        certificate = await eventually(lambda: find(platform, CERTIFICATES.format(team, name)))
        assert certificate["spec"]["isCA"] is True
        assert certificate["spec"]["privateKey"] == {"algorithm": "ECDSA", "size": 256}
        assert [it["name"] for it in certificate["metadata"]["ownerReferences"]] == ["weather"]
        await find(
            platform,
            CERTIFICATES.format(team, "").replace(
                "certificates/", "issuers/authbridge-tls-bridge-selfsigned"
            ),
        )

        async def waits() -> None:
            assert HASH not in str((await find(platform, path))["spec"])

        await always(waits, seconds=1)
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        await platform.patch(f"{CERTIFICATES.format(team, name)}/status", {"status": ready})
        await eventually(lambda: rolled(platform, path))
        await expect_rest(upkeep)
    for crd in crds:
        await platform.remove_crd(crd)
