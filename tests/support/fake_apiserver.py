"""An informer on an API server that the test plays, in virtual time."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from kagenti_operator import clock
from kagenti_operator.kube.auth.connection import Connection
from kagenti_operator.kube.client import SILENCE_SECONDS, KubeClient
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.cache.object_cache import Added, Event, Removed, Selection, Updated
from kagenti_operator.runtime.cache.watch_states import BACKOFF
from tests.support.peer import Peer, PeerRequest, running_peer
from tests.support.widget import ALL_WIDGETS, Widget, page

# Longer than the first backoff, shorter than the second.
FIRST_BACKOFF = 2 * BACKOFF.first
# How late a timer may be.
MARGIN = 0.01


def sign(event: Event[Widget]) -> str:
    """An event in short: `+a`, `~a` or `-a` for an object `a`."""
    match event:
        case Added(obj):
            return f"+{obj.metadata.name}"
        case Updated(_, obj):
            return f"~{obj.metadata.name}"
        case Removed(obj):
            return f"-{obj.metadata.name}"


class FakeApiServer:
    """The informer, the peer it talks to, and the events that it had."""

    def __init__(self, peer: Peer, informer: Informer[Widget]) -> None:
        self.peer = peer
        self.informer = informer
        self.events: list[str] = []
        informer.subscribe(lambda event: self.events.append(sign(event)))

    @property
    def names(self) -> list[str]:
        return sorted(obj.metadata.name for obj in self.informer.cache.values())

    async def list_request(self) -> PeerRequest:
        request = await self.peer.request()
        assert "watch" not in request.query
        return request

    async def watch_request(self, version: int) -> PeerRequest:
        """The next request, which has to be a watch from that version."""
        request = await self.peer.request()
        assert (request.query.get("watch"), request.query.get("resourceVersion")) == ("1", str(version))
        return request

    async def stream(self, version: int, *events: dict[str, Any]) -> PeerRequest:
        """Accept the watch that has to come, and send events."""
        request = await self.watch_request(version)
        request.begin_stream()
        request.send(*events)
        return request

    async def listed(self, version: int, *items: dict[str, Any]) -> None:
        await (await self.list_request()).answer(200, page(version, *items))

    async def watching(self, version: int, *items: dict[str, Any]) -> PeerRequest:
        """The usual beginning: a list, then an open watch."""
        await self.listed(version, *items)
        return await self.stream(version)

    async def pause(self, *, of_at_most: float) -> None:
        """The informer waits before its next request, but not longer than that; let the time pass."""
        began = clock.monotonic()
        async with asyncio.timeout(of_at_most + MARGIN):
            await self.peer.arrival()
        assert clock.monotonic() - began >= BACKOFF.first


@asynccontextmanager
async def run_fake_apiserver(
    selection: Selection[Widget] = ALL_WIDGETS, *, silence_seconds: float = SILENCE_SECONDS
) -> AsyncGenerator[FakeApiServer]:
    async with running_peer() as peer, KubeClient(Connection(peer.url)) as client:
        informer = Informer(client, selection, random.Random(7), silence_seconds=silence_seconds)
        api = FakeApiServer(peer, informer)
        before = asyncio.all_tasks()
        task = asyncio.ensure_future(informer.run())
        yield api
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        left_behind = asyncio.all_tasks() - before - peer.connections - {asyncio.current_task()}
        assert not left_behind
