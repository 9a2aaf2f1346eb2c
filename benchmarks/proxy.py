"""A loopback proxy before the API server that delays, refuses and interrupts, as a bad day would."""

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress

import aiohttp
from aiohttp import web

from benchmarks.testbed import Bed
from kagenti_devcluster.cluster.pki import serving_context

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
        self._watches: set[asyncio.Event] = set()

    def expire_watches(self) -> None:
        """Answer every watch that its version is too old, as the API server does, and end it."""
        self.expired += len(self._watches)
        for expired in self._watches:
            expired.set()

    @contextmanager
    def following(self) -> Generator[asyncio.Event]:
        """Know of a watch while it is open; the event is set when it expires."""
        expired = asyncio.Event()
        self._watches.add(expired)
        try:
            yield expired
        finally:
            self._watches.discard(expired)


def is_watch(request: web.Request) -> bool:
    return request.query.get("watch") == "1"


@asynccontextmanager
async def run_proxy(bed: Bed) -> AsyncGenerator[tuple[int, BadDay]]:
    """Serve with a certificate of the cluster's CA; yields the port."""
    day = BadDay()
    trust = ssl.create_default_context(cafile=bed.credentials.folder / "ca.crt")
    connector = aiohttp.TCPConnector(limit=0, ssl=trust)
    async with aiohttp.ClientSession(
        connector=connector,
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(),
        # Watches are passed on line by line.
        read_bufsize=2**20,
    ) as session:

        async def handle(request: web.Request) -> web.StreamResponse:
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
            tls = serving_context(bed.control_plane.authority, "127.0.0.1")
            site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
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
        # The operator may go away meanwhile.
        with suppress(ConnectionResetError):
            if is_watch(request):
                with day.following() as expired:
                    await _copy_watch(answer, response, expired)
            else:
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
        return response


async def _copy_watch(
    answer: aiohttp.ClientResponse, response: web.StreamResponse, expired: asyncio.Event
) -> None:
    async def copy() -> None:
        async for line in answer.content:
            await response.write(line)

    copying, expiring = asyncio.create_task(copy()), asyncio.create_task(expired.wait())
    try:
        await asyncio.wait({copying, expiring}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        copying.cancel()
        expiring.cancel()
        await asyncio.gather(copying, expiring, return_exceptions=True)
    if expired.is_set():
        status = build_status(410, "Expired", "too old resource version").decode()
        await response.write(f'{{"type": "ERROR", "object": {status}}}\n'.encode())


def _refuse(
    code: int, reason: str, message: str, headers: dict[str, str] | None = None
) -> web.StreamResponse:
    body = build_status(code, reason, message)
    return web.Response(status=code, body=body, content_type="application/json", headers=headers)
