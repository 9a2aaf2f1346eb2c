"""The stand-in sidecar does with each file what was measured of the real one (section 6 of the contract)."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
import yaml
from aiohttp import web
from authbridge_sidecar.config import Fatal, parse
from authbridge_sidecar.sidecar import Places, Sidecar, matches
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from kagenti_devcluster.testing.ports import free_port

ISSUER = "https://public.example/realms/kagenti"
CLIENT = "team1/weather"


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


KEY, OTHER_KEY = new_key(), new_key()


def sign(key: rsa.RSAPrivateKey = KEY, kid: str = "one", **claims: Any) -> str:
    known = {"iss": ISSUER, "aud": CLIENT, "exp": time.time() + 60, "sub": "alice"}
    return jwt.encode({**known, **claims}, key, algorithm="RS256", headers={"kid": kid})


@dataclass
class World:
    """Keycloak, the agent, and whom the agent calls, as one server; what each was asked."""

    url: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    exchanged: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    async def certs(self, _: web.Request) -> web.Response:
        jwk = RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True)
        return web.json_response({"keys": [{**jwk, "kid": "one", "alg": "RS256", "use": "sig"}]})

    async def token(self, request: web.Request) -> web.Response:
        form = {key: str(value) for key, value in (await request.post()).items()}
        self.exchanged.append(form)
        if form["client_secret"] != "s3cret":
            return web.json_response({"error": "invalid_client"}, status=401)
        return web.json_response({"access_token": f"for {form['audience']}"})

    async def anything(self, request: web.Request) -> web.Response:
        body = await request.text()
        self.asked.append((request.path_qs, request.headers.get("Authorization", "")))
        return web.Response(text=f"answer to {body}")


@pytest.fixture
async def world() -> AsyncGenerator[World]:
    made = World()
    app = web.Application()
    app.router.add_get("/realms/kagenti/protocol/openid-connect/certs", made.certs)
    app.router.add_post("/realms/kagenti/protocol/openid-connect/token", made.token)
    app.router.add_route("*", "/{path:.*}", made.anything)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


class Pod:
    """A sidecar with its file, on ports that are free here."""

    def __init__(self, folder: Path, world: World) -> None:
        self.world = world
        self.shared = folder / "shared"
        self.shared.mkdir()
        self.file = folder / "config.yaml"
        ports = [free_port() for _ in range(6)]
        self.reverse, self.forward, self.transparent, self.health, self.stats, self.session = ports
        self.document: dict[str, Any] = {
            "mode": "proxy-sidecar",
            "listener": {
                "reverse_proxy_addr": f":{self.reverse}",
                "reverse_proxy_backend": world.url,
                "forward_proxy_addr": f":{self.forward}",
                "transparent_proxy_addr": f":{self.transparent}",
                "session_api_addr": f"127.0.0.1:{self.session}",
            },
            "pipeline": {
                "inbound": {"plugins": [self.plugin("jwt-validation", issuer=ISSUER)]},
                "outbound": {"plugins": [self.plugin("token-exchange", identity={"type": "client-secret"})]},
            },
        }

    def plugin(self, name: str, **config: Any) -> dict[str, Any]:
        keycloak = {"keycloak_url": self.world.url, "keycloak_realm": "kagenti"}
        return {"name": name, "config": {**keycloak, **config}}

    @property
    def validation(self) -> dict[str, Any]:
        return self.document["pipeline"]["inbound"]["plugins"][0]["config"]

    @property
    def exchange(self) -> dict[str, Any]:
        return self.document["pipeline"]["outbound"]["plugins"][0]["config"]

    def register(self) -> None:
        (self.shared / "client-id.txt").write_text(f"{CLIENT}\n")
        (self.shared / "client-secret.txt").write_text("s3cret\n")

    def write(self) -> None:
        self.file.write_text(yaml.safe_dump(self.document))

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["Client"]:
        self.write()
        places = Places(self.file, self.shared, f":{self.health}", f":{self.stats}")
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            sidecar = Sidecar(places, session)
            task = group.create_task(sidecar.run())
            client = Client(self, sidecar, session)
            await client.wait_listening()
            yield client
            task.cancel()


@dataclass
class Client:
    pod: Pod
    sidecar: Sidecar
    session: aiohttp.ClientSession

    async def wait_listening(self) -> None:
        # The last one to listen.
        while True:
            with suppress(OSError):
                (await asyncio.open_connection("127.0.0.1", self.pod.session))[1].close()
                return
            await asyncio.sleep(0.01)

    async def ask(
        self, path: str = "/", token: str = "", port: int = 0, method: str = "GET"
    ) -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = f"http://127.0.0.1:{port or self.pod.reverse}{path}"
        async with self.session.request(method, url, headers=headers) as answer:
            return answer.status, await answer.text()

    async def call(self, host: str, token: str = "", body: str = "") -> tuple[int, str]:
        """What the agent does: a call by HTTP_PROXY to that host, which is the world's in truth."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        port = self.pod.world.url.rpartition(":")[2]
        proxy = f"http://127.0.0.1:{self.pod.forward}"
        url = f"http://{host}:{port}/v1/traces"
        async with self.session.post(url, proxy=proxy, headers=headers, data=body) as answer:
            return answer.status, await answer.text()


@pytest.fixture
def pod(tmp_path: Path, world: World) -> Pod:
    return Pod(tmp_path, world)


# --- which files it runs on -------------------------------------------------------------------------------


def drop(*path: str) -> Any:
    def change(pod: Pod) -> None:
        where: Any = pod
        for name in path[:-1]:
            where = getattr(where, name) if isinstance(where, Pod) else where[name]
        del where[path[-1]]

    return change


def put(path: str, **values: Any) -> Any:
    def change(pod: Pod) -> None:
        getattr(pod, path).update(values)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("validation", "issuer"), "issuer is required"),
        (drop("exchange", "identity"), "identity.type is required"),
        (put("exchange", identity={"type": "spiffe"}), "identity.jwt_audience is required"),
        (drop("exchange", "keycloak_url"), "token_url is required"),
        (drop("exchange", "keycloak_realm"), "token_url is required"),
        (put("validation", expected_audience="x"), 'unknown field "expected_audience"'),
        (put("exchange", client_id_file="/shared/client-id.txt"), 'unknown field "client_id_file"'),
        (put("exchange", routes=[{"host": "x"}]), "cannot unmarshal array into .*routes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_it_dies_of_a_file_that_lacks_what_a_plugin_demands(pod: Pod, change: Any, message: str) -> None:
    assert parse(pod.document).pipeline
    change(pod)
    with pytest.raises(Fatal, match=message):
        parse(pod.document)


def test_unknown_keys_at_the_top_are_ignored(pod: Pod) -> None:
    before = parse(pod.document)
    pod.document |= {"egressEnforcement": "none", "inbound": {"x": 1}, "identity": {"type": "spiffe"}}
    assert parse(pod.document) == before


@pytest.mark.parametrize(
    ("taken", "message"),
    [
        ("transparent", "reverse-proxy listen on"),
        ("health", "health server listen on"),
        ("stats", "stat server listen on"),
    ],
)
async def test_it_dies_of_a_port_that_the_agents_own_moved_to(pod: Pod, taken: str, message: str) -> None:
    pod.document["listener"]["reverse_proxy_addr"] = f":{getattr(pod, taken)}"
    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match=f"{message} .*address already in use")):
        async with pod.running():
            pass


def test_the_real_ones_ports_are_its_defaults() -> None:
    config = parse({})
    places = Places(Path("x"))
    assert (config.transparent, places.health, places.stats, config.session) == (
        ":8082",
        ":9091",
        ":9093",
        ":9094",
    )


async def test_with_mtls_and_without_spire_it_waits_for_ever_and_says_nothing(
    pod: Pod, capfd: pytest.CaptureFixture[str]
) -> None:
    pod.document["mtls"] = {"mode": "permissive"}
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3), pod.running():
            pass
    assert capfd.readouterr().err == ""


# --- calls to the agent -----------------------------------------------------------------------------------


async def test_without_a_token_only_what_is_open_reaches_the_agent(pod: Pod) -> None:
    pod.register()
    async with pod.running() as client:
        assert (await client.ask("/"))[0] == 401
        assert (await client.ask("/healthz/x"))[0] == 401
        for path in ("/healthz", "/readyz", "/livez", "/metrics", "/.well-known/agent-card.json"):
            assert await client.ask(path) == (200, "answer to ")
    assert [path for path, _ in pod.world.asked] == [
        "/healthz",
        "/readyz",
        "/livez",
        "/metrics",
        "/.well-known/agent-card.json",
    ]


async def test_a_good_token_reaches_the_agent_with_its_request(pod: Pod) -> None:
    pod.register()
    token = sign()
    async with pod.running() as client:
        assert (await client.ask("/a?b=c", token))[0] == 200
    assert pod.world.asked == [("/a?b=c", f"Bearer {token}")]


@pytest.mark.parametrize(
    "token",
    [
        sign(OTHER_KEY),
        sign(kid="two"),
        sign(iss="https://public.example/realms/other"),
        sign(aud="team1/other"),
        sign(exp=time.time() - 60),
        jwt.encode({"iss": ISSUER, "aud": CLIENT, "exp": time.time() + 60}, "x" * 32, headers={"kid": "one"}),
        jwt.encode({"iss": ISSUER, "aud": CLIENT}, "", algorithm="none"),
        "no.token.at.all",
    ],
    ids=["forged", "unknown key", "other realm", "other audience", "old", "HS256", "none", "garbage"],
)
async def test_a_bad_token_is_refused(pod: Pod, token: str) -> None:
    pod.register()
    async with pod.running() as client:
        assert (await client.ask("/", token))[0] == 401
    assert pod.world.asked == []


async def test_without_credentials_every_token_is_refused_and_it_is_not_ready(pod: Pod) -> None:
    async with pod.running() as client:
        status, text = await client.ask("/", sign())
        assert status == 503
        assert "identity not yet configured (credentials pending)" in text
        assert (await client.ask("/readyz", port=pod.health))[0] == 503
        assert (await client.ask("/healthz", port=pod.health))[0] == 200
        pod.register()
        assert (await client.ask("/readyz", port=pod.health))[0] == 200
        assert (await client.ask("/", sign()))[0] == 200


async def test_without_a_pipeline_everybody_comes_in_with_one_warning(
    pod: Pod, capfd: pytest.CaptureFixture[str]
) -> None:
    del pod.document["pipeline"]
    async with pod.running() as client:
        assert (await client.ask("/"))[0] == 200
    assert [line.split()[0] for line in capfd.readouterr().err.splitlines()] == ["WARN"]


# --- the agent's calls ------------------------------------------------------------------------------------


async def test_calls_pass_as_they_are_by_default(pod: Pod) -> None:
    pod.register()
    async with pod.running() as client:
        assert await client.call("localhost", body="spans") == (200, "answer to spans")
        assert await client.call("localhost", token="mine") == (200, "answer to ")
    assert [token for _, token in pod.world.asked] == ["", "Bearer mine"]
    assert pod.world.exchanged == []


async def test_under_policy_exchange_spans_are_lost_unless_their_host_is_skipped(pod: Pod) -> None:
    pod.register()
    pod.exchange["default_policy"] = "exchange"
    async with pod.running() as client:
        assert (await client.call("localhost", body="spans"))[0] == 401
    pod.document["listener"]["skip_hosts"] = ["local*"]
    async with pod.running() as client:
        assert await client.call("localhost", body="spans") == (200, "answer to spans")


async def test_a_routes_host_gets_a_token_for_its_own_audience(pod: Pod) -> None:
    pod.register()
    rules = [{"host": "localhost", "target_audience": "tool", "token_scopes": "tool-scope"}]
    pod.exchange["routes"] = {"rules": rules}
    async with pod.running() as client:
        assert (await client.call("localhost", token="alice's"))[0] == 200
    assert pod.world.asked[-1][1] == "Bearer for tool"
    [form] = pod.world.exchanged
    assert form == {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": "alice's",
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "audience": "tool",
        "scope": "tool-scope",
        "client_id": CLIENT,
        "client_secret": "s3cret",
    }


async def test_a_refused_exchange_reaches_nobody(pod: Pod) -> None:
    pod.register()
    (pod.shared / "client-secret.txt").write_text("rotated")
    pod.exchange["default_policy"] = "exchange"
    async with pod.running() as client:
        assert (await client.call("localhost", token="alice's"))[0] == 401
    assert pod.world.asked == []


async def test_tls_is_passed_on_as_a_tunnel(pod: Pod) -> None:
    async with pod.running():
        reader, writer = await asyncio.open_connection("127.0.0.1", pod.forward)
        port = pod.world.url.rpartition(":")[2]
        writer.write(f"CONNECT localhost:{port} HTTP/1.1\r\n\r\n".encode())
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 200 Connection established\r\n\r\n"
        writer.write(b"GET /inside HTTP/1.0\r\n\r\n")
        assert (await reader.read()).endswith(b"answer to ")
        writer.close()


def test_a_star_does_not_reach_across_dots() -> None:
    assert matches("otel-collector*", "otel-collector")
    assert not matches("otel-collector*", "otel-collector.kagenti-system.svc")
    assert matches("otel-collector.**", "otel-collector.kagenti-system.svc")


# --- reload -----------------------------------------------------------------------------------------------


async def test_a_changed_pipeline_is_taken_up_and_a_bad_one_changes_nothing(pod: Pod) -> None:
    pod.register()
    async with pod.running() as client:

        async def status() -> dict[str, Any]:
            client.sidecar.look()
            return json.loads((await client.ask("/reload/status", port=pod.stats))[1])

        assert await status() == {"reloads": 0, "failures": 0, "last_error": ""}
        pod.validation["issuer"] = "https://moved.example/realms/kagenti"
        pod.write()
        assert (await status())["reloads"] == 1
        assert (await client.ask("/", sign()))[0] == 401
        assert (await client.ask("/", sign(iss="https://moved.example/realms/kagenti")))[0] == 200
        del pod.validation["issuer"]
        pod.write()
        failed = await status()
        assert (failed["reloads"], failed["failures"]) == (1, 1)
        assert "issuer is required" in failed["last_error"]
        assert (await client.ask("/"))[0] == 401
