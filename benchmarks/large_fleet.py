"""A hundred thousand configured agents, which a mock API server shows."""

import asyncio
import ssl
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from trustme import CA

from benchmarks.fleet import Size
from benchmarks.fleets import checking, rounded
from benchmarks.progress import say
from benchmarks.subject import ROOT, Credentials, Operator
from kagenti_devcluster.testing.platform import SYSTEM

# Each of another agent.
CHANGES = 10_000
REST_SECONDS = 10.0
_SETTLED_SERIES = 'workqueue_work_duration_seconds_count{controller="agents",name="agents"}'


@dataclass(frozen=True)
class MockServer:
    """The process, seen from outside."""

    session: aiohttp.ClientSession
    credentials: Credentials

    async def applied(self) -> int:
        """How many objects were applied."""
        async with self.session.get("/mock/applied") as answer:
            return await answer.json()

    async def change(self, count: int) -> None:
        async with self.session.post("/mock/changes", params={"count": str(count)}) as answer:
            answer.raise_for_status()


async def measure_large_fleet(
    python: Path, directory: Path, size: Size, *, profile: Path | None
) -> dict[str, Any]:
    """Memory, time until everything is looked at, and CPU per change."""
    flags = ("--mlflow-poll-interval=1000000",)
    async with run_mock_apiserver(directory, size) as server:
        say(f"starting the operator beside {size} configured agents of a mock API server")
        with Operator(python, directory, server.credentials, *flags, profile=profile) as operator:
            with checking(operator):
                settled = await _settle(operator, server, size)
            found: dict[str, Any] = {"agents": size.namespaces * size.agents, "settled_seconds": settled}
            found["cpu_seconds"] = round(operator.cpu_seconds(), 2)
            await asyncio.sleep(REST_SECONDS)
            found["memory"] = rounded(operator.memory())
            found["ms_per_change"] = await _measure_changes(operator, server)
            found["stop_seconds"] = round(await operator.stop(), 2)
            return found


@asynccontextmanager
async def run_mock_apiserver(directory: Path, size: Size) -> AsyncGenerator[MockServer]:
    folder, certificate, authority = directory / "mock-account", directory / "mock.pem", CA()
    folder.mkdir()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    authority.cert_pem.write_to_path(folder / "ca.crt")
    (folder / "token").write_text("token")
    (folder / "namespace").write_text(SYSTEM)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.mock_apiserver"),
        *(str(certificate), str(size.namespaces), str(size.agents)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        port = int(await process.stdout.readline())
        tls = ssl.create_default_context(cafile=folder / "ca.crt")
        connector = aiohttp.TCPConnector(ssl=tls)
        async with aiohttp.ClientSession(f"https://127.0.0.1:{port}", connector=connector) as session:
            yield MockServer(session, Credentials(folder=folder, port=port))
    finally:
        process.kill()
        await process.wait()


async def _settle(operator: Operator, server: MockServer, size: Size) -> float:
    """Seconds from the start until each agent was looked at and each namespace has its binding."""
    async with asyncio.timeout(300):
        while True:
            operator.check()
            looked_at = await operator.sample(_SETTLED_SERIES)
            if looked_at >= size.namespaces * size.agents and await server.applied() >= size.namespaces:
                return round(asyncio.get_running_loop().time() - operator.started, 1)
            await asyncio.sleep(0.5)


async def _measure_changes(operator: Operator, server: MockServer) -> float:
    """Milliseconds of the operator's CPU per change of an agent that needs nothing done."""
    say(f"{CHANGES} changes of agents that need nothing done")
    before, used = await operator.sample(_SETTLED_SERIES), operator.cpu_seconds()
    await server.change(CHANGES)
    async with asyncio.timeout(120):
        while await operator.sample(_SETTLED_SERIES) < before + CHANGES:
            await asyncio.sleep(0.5)
    return round(1000 * (operator.cpu_seconds() - used) / CHANGES, 3)
