"""A watch beside a list that is still being fetched: news does not wait for the last page of a fleet."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from kagenti_operator.kube.errors import KubeError
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.watch import Added, Deleted, Modified, Unreadable, WatchEvent
from kagenti_operator.runtime.cache.store import Key, key_of


class Lookahead[T: KubeObject]:
    """Follows from the moment that a list shows, and then keeps the list from undoing what was taken."""

    def __init__(
        self,
        watch: Callable[[str], AsyncGenerator[WatchEvent[T]]],
        take: Callable[[WatchEvent[T]], str],
        known: Callable[[Key], T | None],
    ) -> None:
        """`watch` follows from a version, `take` passes an event on and returns its version, `known` tells
        what became of an object.
        """
        self._watch = watch
        self._take = take
        self._known = known
        self._task: asyncio.Task[None] | None = None
        self._told: set[Key] = set()
        self._version = ""

    def forget(self) -> None:
        """A list begins anew, and shows a later moment than all that was taken beside an earlier one."""
        self._told.clear()
        self._version = ""

    def begin(self, version: str) -> None:
        """Follow from that version on."""
        self._version = version
        self._task = asyncio.create_task(self._follow(), name="watch beside a list")

    async def stop(self) -> None:
        """Follow no longer. What was taken stays on record until a list begins anew."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()

    def has_told(self, key: Key) -> bool:
        """Whether something newer than the list is known of that object."""
        return key in self._told

    def correct(self, listed: dict[Key, T], version: str) -> str:
        """Put what was taken into the complete list of that version; return up to which it tells now."""
        for key in self._told:
            known = self._known(key)
            if known is None:
                listed.pop(key, None)
            else:
                listed[key] = known
        told = self._version
        self.forget()
        return told or version

    async def _follow(self) -> None:
        try:
            async with aclosing(self._watch(self._version)) as events:
                async for event in events:
                    self._version = self._take(event) or self._version
                    self._told |= _keys(event)
        except KubeError:
            # It only looks ahead: the watch that follows the list meets the same trouble, and tells of it.
            return


def _keys[T: KubeObject](event: WatchEvent[T]) -> set[Key]:
    match event:
        case Added(obj) | Modified(obj) | Deleted(obj):
            return {key_of(obj)}
        case Unreadable(metadata):
            return {(metadata.namespace, metadata.name)}
        case _:
            return set()
