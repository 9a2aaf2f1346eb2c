"""Trouble in one part of the cluster does not hold up the others; `make bench` measures how little."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from aiohttp import web

from benchmarks.fleet import make_agent, make_namespaces
from benchmarks.proxy import BadDay, run_proxy
from benchmarks.subject import Operator
from benchmarks.testbed import Bed, open_testbed
from benchmarks.witness import Key, Witness, witness_bindings
from kagenti_devcluster.testing.platform import BINDING, RBAC, eventually
from kagenti_operator.controllers.collector.access import WORKERS as ACCESS_WORKERS

# More than can be worked on at once.
REFUSED = [f"refused-{number}" for number in range(ACCESS_WORKERS + 4)]
SPARED = [f"spared-{number}" for number in range(4)]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A running operator behind a proxy that may have a bad day, and who sees its bindings."""

    bed: Bed
    day: BadDay
    bindings: Witness

    async def appear(self, *namespaces: str) -> None:
        await make_namespaces(self.bed, namespaces)
        for namespace in namespaces:
            await make_agent(self.bed, (namespace, "agent"))

    async def granted(self, *namespaces: str) -> None:
        await self.bindings.wait_for([(namespace, BINDING) for namespace in namespaces], seconds=60)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with opened_scene(tmp_path) as opened:
        yield opened


@asynccontextmanager
async def opened_scene(directory: Path) -> AsyncGenerator[Scene]:
    python = Path(sys.executable)
    async with open_testbed(directory, python) as bed:
        await bed.platform.managed_and_ready()
        await bed.platform.set_mlflow_status(available=False, address=None)
        async with run_proxy(bed) as (port, day), witness_bindings(bed.admin) as bindings:
            with Operator(python, directory, replace(bed.credentials, port=port)):
                opened = Scene(bed=bed, day=day, bindings=bindings)
                await opened.appear("first")
                await opened.granted("first")
                yield opened


async def test_namespaces_whose_writes_are_refused_hold_up_nobody_else(scene: Scene) -> None:
    tries = Counter[str]()

    def refuses(request: web.Request) -> bool:
        namespace = request.path.partition("/namespaces/")[2].partition("/")[0]
        if request.method != "PATCH" or namespace not in REFUSED:
            return False
        tries[namespace] += 1
        return True

    scene.day.refuses = refuses
    await scene.appear(*REFUSED)
    await scene.appear(*SPARED)
    await scene.granted(*SPARED)
    assert not granted_of(scene.bindings, REFUSED)
    # Each was asked for, and a worker went on to the next instead of asking for the same until it tires.
    async with asyncio.timeout(60):
        while set(tries) != set(REFUSED):
            await asyncio.sleep(0.05)
    assert max(tries.values()) < 10
    scene.day.refuses = lambda _: False
    await scene.granted(*REFUSED)


def granted_of(bindings: Witness, namespaces: list[str]) -> list[Key]:
    return [key for key in bindings.seen if key[0] in namespaces]


async def test_a_grant_that_is_deleted_before_the_operator_has_seen_it_is_restored(scene: Scene) -> None:
    def is_read_of_bindings(request: web.Request) -> bool:
        return request.method == "GET" and BINDING in request.query.get("fieldSelector", "")

    scene.day.refuses = is_read_of_bindings
    scene.day.expire_watches()
    await scene.appear("unseen")
    await scene.granted("unseen")
    await scene.bed.platform.delete(f"{RBAC}/namespaces/unseen/rolebindings/{BINDING}")
    # The list that comes now shows what the operator knew: no binding there.
    scene.day.refuses = lambda _: False

    async def restored() -> None:
        assert await scene.bed.platform.binding("unseen") is not None

    await eventually(restored, seconds=60)


async def test_versions_that_are_too_old_everywhere_cost_nobody_their_access(scene: Scene) -> None:
    scene.day.expire_watches()
    assert scene.day.expired > 10
    await scene.appear(*SPARED)
    await scene.granted(*SPARED)
