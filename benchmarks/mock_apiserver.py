"""Answers as an API server with a hundred thousand configured agents: a real one would need an hour for them.

Usage: mock_apiserver.py CERTIFICATE NAMESPACES AGENTS_PER_NAMESPACE

Prints its port. Lists come by pages and compressed, watches hear of what is applied, and nothing is checked.
`GET /mock/applied` says how many objects were applied, `POST /mock/changes?count=N` changes so many agents.
"""

import asyncio
import json
import re
import ssl
import sys
import zlib
from collections.abc import Callable
from itertools import count, islice
from typing import Any

from aiohttp import web

from benchmarks.fleet import Size
from benchmarks.mock_objects import FIXED, LISTS, Template
from kagenti_operator.kube.resources import AGENT_DEPLOYMENTS

AGENTS = AGENT_DEPLOYMENTS.path()
BOOKMARK_SECONDS = 30.0
# As the API server compresses: what is larger than that, quickly.
_COMPRESSED_FROM, _LEVEL = 128 * 1024, 1


class MockApiServer:
    """Everything that the operator asks for."""

    def __init__(self, size: Size) -> None:
        self._keys = size.keys()
        self._versions = count(len(self._keys) + 1)
        self._version = len(self._keys)
        self._leases: dict[str, Any] = {}
        self._watches: dict[tuple[str, str], set[asyncio.Queue[bytes]]] = {}
        self._applied = 0

    def build_app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/mock/applied", self._show_applied)
        app.router.add_post("/mock/changes", self._change)
        app.router.add_route("*", "/{path:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        query, path = request.query, request.path
        match request.method:
            case "GET" if "watch" in query:
                return await self._watch(request)
            case "GET" if "limit" in query:
                return self._list(request)
            case "GET" if path in self._leases:
                return web.json_response(self._leases[path])
            case "POST" if path.endswith("selfsubjectaccessreviews"):
                return web.json_response({"status": {"allowed": True}}, status=201)
            case "POST" | "PUT" if "/leases" in path:
                return await self._keep_lease(request)
            case "POST" if path.endswith("/events"):
                return web.json_response(await request.json(), status=201)
            case "PATCH":
                return await self._apply(request)
            case _:
                status = {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}
                return web.json_response(status, status=404)

    def _list(self, request: web.Request) -> web.Response:
        query, plural = request.query, request.path.rpartition("/")[2]
        selector = query.get("labelSelector") or query.get("fieldSelector", "")
        template = LISTS.get((plural, selector))
        start, limit = int(query.get("continue") or 0), int(query["limit"])
        metadata: dict[str, str] = {"resourceVersion": str(self._version)}
        if template is None:
            items = FIXED.get((plural, query.get("fieldSelector", "")), "")
        else:
            numbered = islice(enumerate(self._keys, 1), start, start + limit)
            items = ",".join(template.render(number, *key) for number, key in numbered)
            if start + limit < len(self._keys):
                metadata["continue"] = str(start + limit)
        body = f'{{"kind":"List","metadata":{json.dumps(metadata)},"items":[{items}]}}'.encode()
        headers = {"Content-Type": "application/json"}
        if len(body) > _COMPRESSED_FROM and "gzip" in request.headers.get("Accept-Encoding", ""):
            body = zlib.compress(body, _LEVEL, wbits=31)
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=body, headers=headers)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        selected = (request.path, request.query.get("fieldSelector", ""))
        events = asyncio.Queue[bytes]()
        self._watches.setdefault(selected, set()).add(events)
        try:
            await response.prepare(request)
            while True:
                try:
                    async with asyncio.timeout(BOOKMARK_SECONDS):
                        line = await events.get()
                except TimeoutError:
                    line = self._event("BOOKMARK", {"metadata": {"resourceVersion": str(self._version)}})
                await response.write(line)
        except ConnectionResetError:
            # The operator has ended.
            return response
        finally:
            self._watches[selected].remove(events)

    async def _keep_lease(self, request: web.Request) -> web.Response:
        lease = await request.json()
        lease["metadata"] |= {"resourceVersion": self._next_version(), "uid": "lease"}
        path = request.path if request.method == "PUT" else f"{request.path}/{lease['metadata']['name']}"
        self._leases[path] = lease
        return web.json_response(lease)

    async def _apply(self, request: web.Request) -> web.Response:
        applied = json.loads(await request.read())
        version = self._next_version()
        applied["metadata"] |= {"resourceVersion": version, "uid": f"applied-{version}"}
        self._applied += 1
        line = self._event("ADDED", applied)
        collection, _, name = request.path.rpartition("/")
        everywhere = re.sub("/namespaces/[^/]+", "", collection)
        for path in (collection, everywhere):
            for selector in ("", f"metadata.name={name}"):
                self._send((path, selector), line)
        return web.json_response(applied)

    async def _show_applied(self, _: web.Request) -> web.Response:
        return web.json_response(self._applied)

    async def _change(self, request: web.Request) -> web.Response:
        template = LISTS["deployments", Template.agents_selector]
        for number, key in islice(enumerate(self._keys, 1), int(request.query["count"])):
            agent = json.loads(template.render(number, *key))
            agent["metadata"]["resourceVersion"] = self._next_version()
            self._send((AGENTS, ""), self._event("MODIFIED", agent))
            # As fast as an API server would: one watcher's queue stays short.
            await asyncio.sleep(0)
        return web.json_response(None)

    def _send(self, selected: tuple[str, str], line: bytes) -> None:
        for events in self._watches.get(selected, ()):
            events.put_nowait(line)

    def _next_version(self) -> str:
        self._version = next(self._versions)
        return str(self._version)

    @staticmethod
    def _event(kind: str, obj: dict[str, Any]) -> bytes:
        return json.dumps({"type": kind, "object": obj}).encode() + b"\n"


async def serve(certificate: str, size: Size, ready: Callable[[int], None]) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    runner = web.AppRunner(MockApiServer(size).build_app(), access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    ready(runner.addresses[0][1])
    await asyncio.Event().wait()


if __name__ == "__main__":
    file, namespaces, agents = sys.argv[1:]
    asyncio.run(serve(file, Size(int(namespaces), int(agents)), lambda port: print(port, flush=True)))
