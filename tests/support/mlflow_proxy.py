"""A proxy in front of the real MLflow that counts calls, and holds them up or refuses them for a test."""

import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from kagenti_devcluster.testing.mlflow_server import MLflowServer

type Intercept = Callable[[str, str], Awaitable[int | None]]
"""Called with workspace and API call; it may wait, and returns the status to refuse with, or None."""


async def pass_on(workspace: str, call: str) -> int | None:
    """Refuse nothing."""
    del workspace, call
    return None


class MLflowProxy:
    """The calls that MLflow answered, and how many were under way at most."""

    def __init__(self, server: MLflowServer, session: aiohttp.ClientSession) -> None:
        self._server = server
        self._session = session
        self._tls = ssl.create_default_context(cafile=server.ca_file)
        self.url = ""
        self.calls: list[str] = []
        self.peak = 0
        self.intercept: Intercept = pass_on
        self._under_way = 0

    async def handle(self, request: web.Request) -> web.Response:
        # The question where spans are taken is none of an agent's.
        about_experiments = "/experiments/" in request.path
        self._under_way += about_experiments
        self.peak = max(self.peak, self._under_way)
        try:
            headers = {k: v for k, v in request.headers.items() if k not in ("Host", "Content-Length")}
            body = await request.read()
            call = request.path.rpartition("/")[2]
            workspace = request.headers.get("X-MLFLOW-WORKSPACE", "")
            if status := await self.intercept(workspace, call):
                refusal = {"error": {"code": "REFUSED", "message": "refused by the test"}}
                return web.json_response(refusal, status=status)
            async with self._session.request(
                request.method,
                f"{self._server.url}{request.path_qs}",
                data=body,
                headers=headers,
                ssl=self._tls,
            ) as answer:
                self.calls.append(call)
                return web.Response(
                    status=answer.status, body=await answer.read(), content_type=answer.content_type
                )
        finally:
            self._under_way -= about_experiments


@asynccontextmanager
async def run_mlflow_proxy(server: MLflowServer) -> AsyncGenerator[MLflowProxy]:
    """Serve plain HTTP on loopback; MLflow itself is asked over HTTPS."""
    # No limit of its own: it is the caller's that is to be seen.
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        proxy = MLflowProxy(server, session)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", proxy.handle)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield proxy
        finally:
            await runner.cleanup()
