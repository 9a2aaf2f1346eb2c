"""Stands in for MLflow where thousands of agents come and go: the real one would be what is waited for."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aiohttp import web

from kagenti_operator.mlflow.client import EXPERIMENTS_PATH


@asynccontextmanager
async def run_experiments() -> AsyncGenerator[str]:
    """Serve on loopback; yields the base URL. Every experiment that is asked for is new."""
    names: list[str] = []

    async def create(request: web.Request) -> web.Response:
        names.append((await request.json())["name"])
        return web.json_response({"experiment_id": str(len(names))})

    async def show(request: web.Request) -> web.Response:
        number = int(request.query["experiment_id"])
        experiment = {"experiment_id": str(number), "name": names[number - 1], "creation_time": number}
        return web.json_response({"experiment": experiment})

    app = web.Application()
    app.router.add_get(f"{EXPERIMENTS_PATH}/get", show)
    app.router.add_post(f"{EXPERIMENTS_PATH}/create", create)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
