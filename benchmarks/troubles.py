"""Reaction while something else goes on: a relist of the fleet, a slow or refusing API server, a crowd."""

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from benchmarks.fleet import Size, make_agent, make_fleet, make_namespaces
from benchmarks.fleets import NO_MLFLOW, checking, react, rounded
from benchmarks.progress import say
from benchmarks.proxy import BadDay, run_proxy
from benchmarks.subject import Operator
from benchmarks.testbed import Bed, in_parallel, open_testbed
from benchmarks.witness import witness_bindings
from kagenti_devcluster.testing.platform import BINDING

REACTIONS = 300
SLOW_SECONDS = 0.2
RELISTS = 3
REFUSED = 200
CROWD = 2000


async def measure_troubles(
    python: Path, directory: Path, size: Size, *, profile: Path | None
) -> dict[str, Any]:
    """Reaction in new namespaces, on an ordinary day and on bad ones, all through the same proxy."""
    async with open_testbed(directory, python) as bed:
        await bed.platform.managed_and_ready(NO_MLFLOW)
        await bed.platform.set_mlflow_status(available=False, address=None)
        say(f"making {size} agents")
        await make_fleet(bed, size)
        async with run_proxy(bed) as (port, day), witness_bindings(bed.admin) as bindings:
            credentials = dataclasses.replace(bed.credentials, port=port)
            with Operator(python, directory, credentials, profile=profile) as operator, checking(operator):
                await bindings.wait_for((team, BINDING) for team in size.names())
                found = {"ordinary": await _react(bed, "ordinary")}
                found["relist"] = await _during(_relist(day), bed, "relist")
                found["slow"] = await _while_slow(bed, day)
                found["refused"] = await _while_refused(bed, day)
                found["crowd"] = await _during(_crowd(bed), bed, "crowded")
                found["memory"] = rounded(operator.memory())
                await operator.stop()
        return found


async def _react(bed: Bed, name: str) -> dict[str, Any]:
    say(f"{REACTIONS} agents in new namespaces: {name}")
    return (await react(bed, name, REACTIONS)).to_json()


async def _during(trouble: Coroutine[Any, Any, dict[str, Any]], bed: Bed, name: str) -> dict[str, Any]:
    going_on = asyncio.create_task(trouble, name=name)
    found = await _react(bed, name)
    return found | await going_on


async def _relist(day: BadDay) -> dict[str, Any]:
    """Every watch is answered 410, so that every informer lists again; a few times."""
    for _ in range(RELISTS):
        await asyncio.sleep(4)
        day.expire_watches()
    return {"watches_expired": day.expired}


async def _while_slow(bed: Bed, day: BadDay) -> dict[str, Any]:
    day.delay_seconds = lambda _: SLOW_SECONDS
    try:
        return await _react(bed, "slow") | {"delay_ms": round(1000 * SLOW_SECONDS)}
    finally:
        day.delay_seconds = lambda _: 0.0


async def _while_refused(bed: Bed, day: BadDay) -> dict[str, Any]:
    """The writes to some namespaces are answered 429 for as long as it lasts; the others are measured."""
    names = [f"refused-{number:04}" for number in range(REFUSED)]
    await make_namespaces(bed, names)

    def refuses(request: web.Request) -> bool:
        return request.method in ("PATCH", "POST") and "/namespaces/refused-" in request.path

    day.refuses = refuses
    async with _granted_later(bed, names, day):
        return await _react(bed, "spared") | {"refused_namespaces": REFUSED}


@asynccontextmanager
async def _granted_later(bed: Bed, names: list[str], day: BadDay) -> AsyncGenerator[None]:
    async with witness_bindings(bed.admin) as bindings:

        async def appear(name: str) -> None:
            await make_agent(bed, (name, "agent"))

        await in_parallel(appear, names)
        yield
        day.refuses = lambda _: False
        # Nobody is forgotten: they are granted as soon as the API server lets them.
        await bindings.wait_for((name, BINDING) for name in names)


async def _crowd(bed: Bed) -> dict[str, Any]:
    """One namespace gets 2,000 agents."""
    await make_namespaces(bed, ["crowd"])

    async def appear(number: int) -> None:
        await make_agent(bed, ("crowd", f"agent-{number:04}"))

    for begin in range(0, CROWD, 200):
        # In bursts with pauses between them: an API server without rest would be what is measured.
        await in_parallel(appear, range(begin, begin + 200))
        await asyncio.sleep(0.3)
    return {"agents_in_one_namespace": CROWD}
