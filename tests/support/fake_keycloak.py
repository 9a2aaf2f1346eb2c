"""A small Keycloak on loopback: logins, and the clients of its realms, as the real one answers (26.7)."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from aiohttp import web

PASSWORD = "correct horse"


@dataclass
class FakeKeycloak:
    """`calls`: every request, as method and path. `answers`: what the next ones are answered instead."""

    realms: dict[str, dict[str, dict[str, Any]]] = field(default_factory=lambda: {"kagenti": {}})
    password: str = PASSWORD
    expires_in: int = 60
    url: str = ""
    calls: list[str] = field(default_factory=list[str])
    forms: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    answers: list[web.Response] = field(default_factory=list[web.Response])
    tokens: list[str] = field(default_factory=list[str])

    def add(self, realm: str, representation: dict[str, Any]) -> dict[str, Any]:
        """Make a client, as its administrator would."""
        made: dict[str, Any] = {"id": str(uuid4()), "secret": f"secret-{uuid4()}", "attributes": {}}
        made |= representation
        self.realms[realm][made["id"]] = made
        return made

    def client_ids(self, realm: str = "kagenti") -> list[str]:
        return [client["clientId"] for client in self.realms[realm].values()]

    def get(self, client_id: str, realm: str = "kagenti") -> dict[str, Any]:
        return next(c for c in self.realms[realm].values() if c["clientId"] == client_id)

    @property
    def logins(self) -> int:
        return sum("openid-connect/token" in call for call in self.calls)

    async def log_in(self, request: web.Request) -> web.Response:
        form = {key: str(value) for key, value in (await request.post()).items()}
        self.forms.append(form)
        if form.get("password") != self.password:
            text = {"error": "invalid_grant", "error_description": "Invalid user credentials"}
            return web.json_response(text, status=401)
        self.tokens.append(f"token-{len(self.tokens)}")
        return web.json_response({"access_token": self.tokens[-1], "expires_in": self.expires_in})

    async def clients(self, request: web.Request) -> web.Response:
        realm = self.realms.get(request.match_info["realm"])
        if realm is None:
            return web.json_response({"error": "Realm not found."}, status=404)
        if request.method == "POST":
            body = await request.json()
            if any(client["clientId"] == body["clientId"] for client in realm.values()):
                text = {"errorMessage": f"Client {body['clientId']} already exists"}
                return web.json_response(text, status=409)
            self.add(request.match_info["realm"], body)
            return web.Response(status=201)
        found = list(realm.values())
        if wanted := request.query.get("clientId"):
            found = [client for client in found if client["clientId"] == wanted]
        first = int(request.query.get("first", 0))
        return web.json_response(found[first : first + int(request.query.get("max", 1000))])

    async def client(self, request: web.Request) -> web.Response:
        realm, id_ = self.realms[request.match_info["realm"]], request.match_info["id"]
        if id_ not in realm:
            return web.json_response({"error": "Could not find client"}, status=404)
        if request.method == "DELETE":
            del realm[id_]
        else:
            realm[id_] |= await request.json()
        return web.Response(status=204)

    @web.middleware
    async def guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.calls.append(f"{request.method} {request.rel_url.raw_path}")
        if self.answers:
            return self.answers.pop(0)
        is_admin = request.path.startswith("/admin/")
        if is_admin and request.headers.get("Authorization") != f"Bearer {(self.tokens or ['none'])[-1]}":
            return web.json_response({"error": "HTTP 401 Unauthorized"}, status=401)
        return await handler(request)


@asynccontextmanager
async def running_keycloak() -> AsyncGenerator[FakeKeycloak]:
    fake = FakeKeycloak()
    app = web.Application(middlewares=[fake.guard])
    app.router.add_post("/realms/master/protocol/openid-connect/token", fake.log_in)
    app.router.add_route("*", "/admin/realms/{realm}/clients", fake.clients)
    app.router.add_route("*", "/admin/realms/{realm}/clients/{id}", fake.client)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    fake.url = f"http://{host}:{port}"
    try:
        yield fake
    finally:
        await runner.cleanup()
