"""A loopback proxy before the API server that delays, refuses and interrupts, as a bad day would."""

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from benchmarks.testbed import Testbed

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding", "host"}


def build_status(code: int, reason: str, message: str) -> bytes:
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}
    return json.dumps({**status, "code": code, "reason": reason, "message": message}).encode()


class BadDay:
    """What goes wrong for the requests that pass; nothing, at first."""

    def __init__(self) -> None:
        self.delay_seconds: Callable[[web.Request], float] = lambda _: 0.0
        self.refuses: Callable[[web.Request], bool] = lambda _: False
        self.refused = 0
        self.expired = 0
        self._watches: set[asyncio.Task[None]] = set()
        self._expire: set[str] = set()

    def expire_watches(self) -> None:
        """End every watch, and answer the next try of each with 410: its version is too old."""
        for watch in self._watches:
            self._expire.add(watch.get_name())
            watch.cancel()

    def is_expired(self, request: web.Request) -> bool:
        """Whether this watch is one of those; it is told once."""
        name = watch_name(request)
        if name not in self._expire:
            return False
        self._expire.remove(name)
        self.expired += 1
        return True

    @asynccontextmanager
    async def following(self, request: web.Request) -> AsyncGenerator[None]:
        """Know of a watch while it is open."""
        task = asyncio.current_task()
        assert task is not None
        task.set_name(watch_name(request))
        self._watches.add(task)
        try:
            yield
        except asyncio.CancelledError:
            # Ours: the connection is closed, as a broken one would be.
            if request.transport:
                request.transport.close()
        finally:
            self._watches.discard(task)


def is_watch(request: web.Request) -> bool:
    return request.query.get("watch") == "1"


def watch_name(request: web.Request) -> str:
    query = request.query
    return " ".join((request.path, query.get("labelSelector", ""), query.get("fieldSelector", "")))


@asynccontextmanager
async def run_proxy(bed: Testbed) -> AsyncGenerator[tuple[int, BadDay]]:
    """Serve with a certificate of the cluster's CA; yields the port."""
    day = BadDay()
    trust = ssl.create_default_context(cafile=bed.credentials.folder / "ca.crt")
    trust.verify_flags &= ~ssl.VERIFY_X509_STRICT
    connector = aiohttp.TCPConnector(limit=0, ssl=trust)
    async with aiohttp.ClientSession(
        connector=connector, auto_decompress=False, timeout=aiohttp.ClientTimeout()
    ) as session:

        async def handle(request: web.Request) -> web.StreamResponse:
            if is_watch(request) and day.is_expired(request):
                return _refuse(410, "Expired", "too old resource version")
            if day.refuses(request):
                day.refused += 1
                return _refuse(429, "TooManyRequests", "too many requests", {"Retry-After": "1"})
            await asyncio.sleep(day.delay_seconds(request))
            return await _pass_on(session, bed.control_plane.server_url, request, day)

        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=_serving_context(bed))
            await site.start()
            yield runner.addresses[0][1], day
        finally:
            await runner.cleanup()


async def _pass_on(
    session: aiohttp.ClientSession, server: str, request: web.Request, day: BadDay
) -> web.StreamResponse:
    headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
    body = await request.read()
    async with session.request(
        request.method, f"{server}{request.raw_path}", headers=headers, data=body or None
    ) as answer:
        kept = {n: v for n, v in answer.headers.items() if n.lower() not in _HOP_BY_HOP}
        if encoding := answer.headers.get("Content-Encoding"):
            kept["Content-Encoding"] = encoding
        response = web.StreamResponse(status=answer.status, headers=kept)
        await response.prepare(request)
        if is_watch(request):
            async with day.following(request):
                await _copy(answer, response)
        else:
            await _copy(answer, response)
        return response


async def _copy(answer: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
    async for chunk in answer.content.iter_any():
        await response.write(chunk)


def _refuse(
    code: int, reason: str, message: str, headers: dict[str, str] | None = None
) -> web.StreamResponse:
    body = build_status(code, reason, message)
    return web.Response(status=code, body=body, content_type="application/json", headers=headers)


def _serving_context(bed: Testbed) -> ssl.SSLContext:
    certificate, key = bed.directory / "proxy.crt", bed.directory / "proxy.key"
    bed.control_plane.authority.issue_server("proxy", ["127.0.0.1"]).write(certificate, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
