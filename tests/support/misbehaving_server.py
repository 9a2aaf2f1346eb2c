"""A real HTTP server on loopback that answers as a script says."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from aiohttp import web

from kagenti_operator import clock


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: Any = field(default_factory=dict[str, Any])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def __str__(self) -> str:
        return str(self.status)


@dataclass(frozen=True)
class HangUp:
    """No answer: the connection is closed."""


@dataclass(frozen=True)
class Silence:
    """No answer, for ever."""


type Step = Answer | HangUp | Silence


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    at: float


class Server:
    """Answers one step after the other, the last one for ever."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.url = ""
        self.asked: list[Asked] = []
        self._steps = list(steps)

    @property
    def calls(self) -> list[str]:
        return [asked.path.rpartition("/")[2] for asked in self.asked]

    @property
    def waits(self) -> list[float]:
        """Seconds from each request to the next."""
        return [after.at - before.at for before, after in pairwise(self.asked)]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.asked.append(
            Asked(
                request.method,
                request.path,
                dict(request.query),
                dict(request.headers),
                body,
                clock.monotonic(),
            )
        )
        step = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
        match step:
            case Answer(body=bytes() as raw):
                return web.Response(status=step.status, body=raw, headers=step.headers)
            case Answer():
                return web.json_response(step.body, status=step.status, headers=step.headers)
            case HangUp():
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            case Silence():
                await asyncio.Event().wait()
                return web.Response()


@asynccontextmanager
async def serving(*steps: Step, tls: ssl.SSLContext | None = None, port: int = 0) -> AsyncGenerator[Server]:
    server = Server(steps)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls)
    await site.start()
    host, bound = runner.addresses[0][:2]
    server.url = f"{'https' if tls else 'http'}://{host}:{bound}"
    try:
        yield server
    finally:
        await runner.cleanup()
