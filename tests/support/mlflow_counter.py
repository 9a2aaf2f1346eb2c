"""A door in front of the real MLflow that counts who passes, and may keep some out."""

import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from kagenti_devcluster.testing.mlflow_server import MLflowServer

type Doorkeeper = Callable[[str, str, str], Awaitable[int | None]]
"""Called with workspace, what is to be done and the body; it may wait, and answers with a status, or None."""


async def let_in(workspace: str, doing: str, body: str) -> int | None:
    """Everybody goes through."""
    del workspace, doing, body
    return None


class MLflowCounter:
    """Requests that went through: what they did, and how many were under way at most."""

    def __init__(self, server: MLflowServer, session: aiohttp.ClientSession) -> None:
        self._server = server
        self._session = session
        self._tls = ssl.create_default_context(cafile=server.ca_file)
        self.url = ""
        self.done: list[str] = []
        self.peak = 0
        self.doorkeeper: Doorkeeper = let_in
        self._under_way = 0

    async def handle(self, request: web.Request) -> web.Response:
        self._under_way += 1
        self.peak = max(self.peak, self._under_way)
        try:
            headers = {k: v for k, v in request.headers.items() if k not in ("Host", "Content-Length")}
            body = await request.read()
            doing = request.path.rpartition("/")[2]
            workspace = request.headers.get("X-MLFLOW-WORKSPACE", "")
            if status := await self.doorkeeper(workspace, doing, body.decode()):
                refusal = {"error": {"code": "REFUSED", "message": "the test says no"}}
                return web.json_response(refusal, status=status)
            async with self._session.request(
                request.method,
                f"{self._server.url}{request.path_qs}",
                data=body,
                headers=headers,
                ssl=self._tls,
            ) as answer:
                self.done.append(doing)
                return web.Response(
                    status=answer.status, body=await answer.read(), content_type=answer.content_type
                )
        finally:
            self._under_way -= 1


@asynccontextmanager
async def counting(server: MLflowServer) -> AsyncGenerator[MLflowCounter]:
    """Serve plain HTTP on loopback; MLflow itself is asked over HTTPS."""
    # No limit of its own: it is the caller's that is to be seen.
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        counter = MLflowCounter(server, session)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", counter.handle)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            counter.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield counter
        finally:
            await runner.cleanup()
