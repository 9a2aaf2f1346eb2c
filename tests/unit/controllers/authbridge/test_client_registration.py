"""What becomes of clients and Secrets, with a small Keycloak and a small API server."""

import json
from base64 import b64decode
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from aiohttp import web

from kagenti_operator.controllers.agents.keys import build_key
from kagenti_operator.controllers.authbridge.client_registration import ClientRegistrationReconciler, setup
from kagenti_operator.controllers.authbridge.facts import AuthBridgeFacts
from kagenti_operator.controllers.authbridge.workload_facts import WorkloadFacts
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.keycloak.admin_token import Credentials
from kagenti_operator.keycloak.client import KeycloakClient
from kagenti_operator.keycloak.errors import KeycloakError
from kagenti_operator.kube.objects.models import ConfigMap, KubeObject, ObjectMeta, SharedConfigMap
from kagenti_operator.runtime.observable import Observable
from tests.support.fake_keycloak import PASSWORD, FakeKeycloak, running_keycloak
from tests.unit.controllers.dependencies import open_dependencies, put

KEY = build_key("Deployment", "team1", "weather")
CLUSTER = "uid-of-kube-system"
MARK, WORKLOAD = "kagenti.io/cluster", "kagenti.io/workload"


@dataclass
class ApiServer:
    """Deployments by name, the namespace that names the cluster, and the Secrets that were applied."""

    workloads: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    secrets: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    asked: list[str] = field(default_factory=list[str])

    def add(self, name: str = "weather") -> None:
        template = {
            "metadata": {"labels": {"kagenti.io/type": "agent"}},
            "spec": {"containers": [{"name": "agent", "ports": [{"containerPort": 8000}]}]},
        }
        metadata = {"name": name, "namespace": "team1", "uid": f"uid-of-{name}"}
        self.workloads[name] = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {"template": template},
        }

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.method} {request.path}")
        name = request.path.rpartition("/")[2]
        if request.path == "/api/v1/namespaces/kube-system":
            return web.json_response({"metadata": {"name": "kube-system", "uid": CLUSTER}})
        if "/deployments/" in request.path and name in self.workloads:
            return web.json_response(self.workloads[name])
        if "/secrets/" in request.path and request.method == "PATCH":
            self.secrets[name] = json.loads(await request.read())
            return web.json_response(self.secrets[name])
        status = {"kind": "Status", "reason": "NotFound", "code": 404, "message": "not found"}
        return web.json_response(status, status=404)

    @property
    def files(self) -> dict[str, str]:
        [secret] = self.secrets.values()
        return {name: b64decode(text).decode() for name, text in secret["data"].items()}


@dataclass
class World:
    keycloak: FakeKeycloak
    api: ApiServer
    reconciler: ClientRegistrationReconciler
    facts: AuthBridgeFacts

    def configure(self, **config: str) -> None:
        """The namespace's `authbridge-config`, filled in as it is, but for these."""
        data = {
            "KEYCLOAK_URL": self.keycloak.url,
            "KEYCLOAK_REALM": "kagenti",
            "ISSUER": "https://public.example/realms/kagenti",
            "CLIENT_AUTH_TYPE": "client-secret",
            **config,
        }
        body = {"metadata": {"name": "authbridge-config", "namespace": "team1"}, "data": data}
        put(self.facts.namespaces.configs, msgspec.convert(body, SharedConfigMap))

    def add_client(self, client_id: str, **attributes: str) -> dict[str, Any]:
        return self.keycloak.add("kagenti", {"clientId": client_id, "attributes": attributes})


@pytest.fixture
async def world() -> AsyncGenerator[World]:
    api = ApiServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    settings = Settings(enable_authbridge=True, enable_client_registration=True)

    async def credentials() -> Credentials:
        return Credentials("temp-admin", PASSWORD)

    server = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with running_keycloak() as fake, open_dependencies(settings, server) as dependencies:
        facts = AuthBridgeFacts(dependencies, Observable[bool | None](False))
        keycloak = KeycloakClient(fake.url, credentials=credentials, rng=dependencies.rng)
        reconciler, _ = setup(dependencies, facts, WorkloadFacts(dependencies), keycloak)
        made = World(fake, api, reconciler, facts)
        put(facts.namespaces.namespaces, KubeObject(metadata=ObjectMeta(name="team1")))
        platform = "images: {authbridge: a, proxyInit: p}"
        body = {
            "metadata": {"name": "kagenti-platform-config", "namespace": "kagenti-system"},
            "data": {"config.yaml": platform},
        }
        put(facts.platform.informer, msgspec.convert(body, ConfigMap))
        made.configure()
        api.add()
        yield made
        await keycloak.close()
    await runner.cleanup()


async def test_a_client_is_registered_and_its_credentials_are_the_workloads(world: World) -> None:
    assert await world.reconciler.reconcile(KEY) is not None
    client = world.keycloak.get("team1/weather")
    assert client["attributes"][MARK] == CLUSTER
    assert world.api.files == {"client-id.txt": "team1/weather", "client-secret.txt": client["secret"]}
    [secret] = world.api.secrets.values()
    assert secret["metadata"]["ownerReferences"][0]["uid"] == "uid-of-weather"


async def test_no_secret_is_read(world: World) -> None:
    await world.reconciler.reconcile(KEY)
    await world.reconciler.reconcile(KEY)
    assert {call.split()[0] for call in world.api.asked if "/secrets/" in call} == {"PATCH"}


async def test_a_rotated_secret_is_followed_and_a_changed_client_put_right(world: World) -> None:
    await world.reconciler.reconcile(KEY)
    client = world.keycloak.get("team1/weather")
    client["secret"] = "rotated"
    client["attributes"] |= {"standard.token.exchange.enabled": "false", "theirs": "stays"}
    await world.reconciler.reconcile(KEY)
    assert world.api.files["client-secret.txt"] == "rotated"
    attributes = world.keycloak.get("team1/weather")["attributes"]
    assert attributes["standard.token.exchange.enabled"] == "true"
    assert attributes["theirs"] == "stays"


async def test_a_client_that_somebody_deleted_comes_back(world: World) -> None:
    await world.reconciler.reconcile(KEY)
    world.keycloak.realms["kagenti"].clear()
    await world.reconciler.reconcile(KEY)
    assert world.api.files["client-secret.txt"] == world.keycloak.get("team1/weather")["secret"]


@pytest.mark.parametrize("attributes", [{}, {MARK: "another cluster"}], ids=["nobody's", "another cluster's"])
async def test_a_client_that_others_made_is_neither_used_nor_changed_nor_removed(
    world: World, attributes: dict[str, str]
) -> None:
    before = dict(world.add_client("team1/weather", **attributes))
    with pytest.raises(KeycloakError, match=f"set its attribute {MARK} to {CLUSTER} to hand it over"):
        await world.reconciler.reconcile(KEY)
    world.api.workloads.clear()
    await world.reconciler.reconcile(KEY)
    assert world.keycloak.get("team1/weather") == before
    assert world.api.secrets == {}


async def test_one_that_was_handed_over_is_used(world: World) -> None:
    made = world.add_client("team1/weather", **{MARK: CLUSTER})
    await world.reconciler.reconcile(KEY)
    assert world.api.files["client-secret.txt"] == made["secret"]


async def test_an_address_of_the_namespaces_own_is_never_asked(world: World) -> None:
    async with running_keycloak() as evil:
        world.configure(KEYCLOAK_URL=evil.url)
        assert await world.reconciler.reconcile(KEY) is None
        assert (evil.calls, world.keycloak.calls) == ([], [])
    assert world.api.secrets == {}


async def test_the_client_of_a_workload_that_is_gone_is_removed(world: World) -> None:
    await world.reconciler.reconcile(KEY)
    world.api.workloads.clear()
    assert await world.reconciler.reconcile(KEY) is None
    assert world.keycloak.client_ids() == []


async def test_a_client_that_another_workload_uses_stays(world: World) -> None:
    await world.reconciler.reconcile(KEY)
    sibling = build_key("StatefulSet", "team1", "weather")
    assert await world.reconciler.reconcile(sibling) is None
    assert world.keycloak.client_ids() == ["team1/weather"]


async def test_the_sweep_finds_clients_whose_workloads_went_while_nobody_looked(world: World) -> None:
    world.add_client("team1/gone", **{MARK: CLUSTER, WORKLOAD: "Deployment/team1/gone"})
    world.add_client("team1/theirs", **{MARK: "another cluster", WORKLOAD: "Deployment/team1/theirs"})
    world.add_client("team1/people")
    [gone] = await world.reconciler.sweep()
    await world.reconciler.reconcile(gone)
    assert world.keycloak.client_ids() == ["team1/theirs", "team1/people"]


async def test_a_namespace_that_is_not_enabled_has_no_clients_made(world: World) -> None:
    world.facts.namespaces.namespaces.cache.replace({})
    assert await world.reconciler.reconcile(KEY) is None
    assert world.keycloak.client_ids() == []
