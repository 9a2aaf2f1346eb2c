"""Where nobody who leads knows of AuthBridge, a replica that lacks a certificate makes the first one."""

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from aiohttp import web

from kagenti_operator.controllers.authbridge.own_certificate import CertificateObjects, OwnCertificate
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.objects.models import Secret
from tests.unit.controllers.dependencies import open_dependencies, put

pytestmark = pytest.mark.virtual_time
NAME = "kagenti-operator-webhook-server-cert"


def secret(version: str, **data: str) -> Secret:
    metadata = {"name": NAME, "namespace": "kagenti-system", "resourceVersion": version}
    return msgspec.convert({"metadata": metadata, "data": data}, Secret)


@dataclass
class Replica:
    """One that does not lead, and what it wrote; its informer is played by the test."""

    own: OwnCertificate
    objects: CertificateObjects
    written: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    wrote: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        self.written.append(body)
        self.wrote.set()
        return web.json_response(body)

    def show(self, body: dict[str, Any]) -> None:
        put(self.objects.secrets, msgspec.convert({**body, "kind": None}, Secret))


@pytest.fixture
async def replica() -> AsyncGenerator[Replica]:
    app = web.Application()
    runner = web.AppRunner(app, shutdown_timeout=0)
    made: list[Replica] = []

    async def handle(request: web.Request) -> web.Response:
        return await made[0].handle(request)

    app.router.add_route("*", "/{path:.*}", handle)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with open_dependencies(Settings(enable_authbridge=True), server) as dependencies:
        objects = CertificateObjects(dependencies)
        objects.secrets.cache.replace({})
        put(objects.secrets, secret("7"))
        made.append(Replica(OwnCertificate(dependencies.unfenced, objects), objects))
        yield made[0]
    await runner.cleanup()


async def test_it_is_made_once_the_secret_has_been_empty_for_a_while(replica: Replica) -> None:
    running = asyncio.create_task(replica.own.run())
    await replica.wrote.wait()
    [body] = replica.written
    # Somebody who was faster makes this a conflict.
    assert body["metadata"]["resourceVersion"] == "7"
    replica.show(body)
    await replica.own.provide()
    running.cancel()


async def test_it_is_left_to_who_leads_where_that_one_is_there(replica: Replica) -> None:
    first = asyncio.create_task(replica.own.run())
    await replica.wrote.wait()
    first.cancel()
    made = replica.written.pop()
    replica.show(made)
    second = asyncio.create_task(replica.own.run())
    await replica.own.provide()
    await asyncio.sleep(60)
    assert replica.written == []
    second.cancel()
