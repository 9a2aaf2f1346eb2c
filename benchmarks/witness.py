"""Sees what happens in the cluster, and when: a watch of the measuring process's own."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from typing import Any

from kagenti_devcluster.testing.platform import BINDING
from kagenti_operator.contract import KAGENTI, Names
from kagenti_operator.controllers.agents.injection import injected
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.resources import AGENT_DEPLOYMENTS, ROLE_BINDINGS, Resource
from kagenti_operator.kube.watch import Added, Deleted, Modified

type Key = tuple[str, str]


class Witness:
    """When each object was first seen to fulfil a condition, by the monotonic clock."""

    def __init__(self) -> None:
        self.seen: dict[Key, float] = {}
        self._changed = asyncio.Event()

    def note(self, key: Key, at: float) -> None:
        self.seen.setdefault(key, at)
        self._changed.set()

    def forget(self, key: Key) -> None:
        self.seen.pop(key, None)
        self._changed.set()

    async def until(self, fulfilled: Callable[[], bool], *, seconds: float = 300) -> None:
        async with asyncio.timeout(seconds):
            while not fulfilled():
                self._changed.clear()
                await self._changed.wait()

    async def wait_for(self, keys: Iterable[Key], *, seconds: float = 300) -> None:
        """Return when all of these were seen."""
        missing = set(keys)

        def all_seen() -> bool:
            missing.difference_update(self.seen)
            return not missing

        try:
            await self.until(all_seen, seconds=seconds)
        except TimeoutError:
            raise TimeoutError(f"{len(missing)} objects were not seen within {seconds:g} s") from None

    def rate(self, keys: Iterable[Key]) -> float:
        """Objects per second between the first and the last of them."""
        times = sorted(self.seen[key] for key in keys)
        return (len(times) - 1) / (times[-1] - times[0])


@asynccontextmanager
async def witness(
    client: KubeClient,
    resource: Resource[Any],
    *,
    field_selector: str = "",
    fulfilled: Callable[[Any], bool] = lambda _: True,
) -> AsyncGenerator[Witness]:
    """Watch from now on."""
    page = await client.list_page(resource, limit=1, field_selector=field_selector)
    found = Witness()

    async def follow() -> None:
        events = client.watch(
            resource,
            field_selector=field_selector,
            resource_version=page.resource_version,
            timeout_seconds=3600,
        )
        async with aclosing(events):
            async for event in events:
                match event:
                    case Added(obj) | Modified(obj) if fulfilled(obj):
                        found.note(_key(obj), time.monotonic())
                    case Deleted(obj):
                        found.forget(_key(obj))
                    case _:
                        pass

    task = asyncio.create_task(follow(), name="witness")
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def witness_bindings(client: KubeClient):
    """Watch the collector's RoleBindings."""
    return witness(client, ROLE_BINDINGS, field_selector=f"metadata.name={BINDING}")


def witness_configured(client: KubeClient, names: Names = KAGENTI):
    """Watch the agents that have their environment."""
    resource = AGENT_DEPLOYMENTS.for_names(names)
    return witness(client, resource, fulfilled=lambda agent: injected(agent) is not None)


def _key(obj: KubeObject) -> Key:
    return obj.metadata.namespace, obj.metadata.name
