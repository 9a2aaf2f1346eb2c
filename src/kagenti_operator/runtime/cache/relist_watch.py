"""A watch beside a list that is still being fetched: changes do not wait for the last page of a fleet."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from kagenti_operator.kube.errors import KubeError
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.watch import Added, Deleted, Modified, Unreadable, WatchEvent
from kagenti_operator.runtime.cache.object_cache import ObjectCache, key_of
from kagenti_operator.runtime.cache.object_store import ObjectKey, ObjectStore


class RelistWatch[T: KubeObject]:
    """Watches from the moment that a list shows, and then keeps the list from undoing what it saw."""

    def __init__(
        self,
        watch: Callable[[str], AsyncGenerator[WatchEvent[T]]],
        take: Callable[[WatchEvent[T]], str],
        cache: ObjectCache[T],
    ) -> None:
        """`watch` follows from a version; `take` passes an event to the cache and returns its version."""
        self._watch = watch
        self._take = take
        self._cache = cache
        self._task: asyncio.Task[None] | None = None
        self._seen: set[ObjectKey] = set()
        self._version = ""

    def forget(self) -> None:
        """A list begins anew, and shows a later moment than all that was seen beside an earlier one."""
        self._seen.clear()
        self._version = ""

    def begin(self, version: str) -> None:
        """Watch from that version on."""
        self._version = version
        self._task = asyncio.create_task(self._follow(), name="watch beside a list")

    async def stop(self) -> None:
        """Watch no longer. What was seen stays on record until a list begins anew."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()

    def saw(self, key: ObjectKey) -> bool:
        """Whether something newer than the list is known of that object."""
        return key in self._seen

    def correct(self, listed: ObjectStore[T], version: str) -> str:
        """Put what was seen into the complete list of that version; return the version that it has now."""
        for key in self._seen:
            if self._cache.get(*key) is None:
                listed.discard(key)
            else:
                self._cache.keep(key, listed)
        seen = self._version
        self.forget()
        return seen or version

    async def _follow(self) -> None:
        try:
            async with aclosing(self._watch(self._version)) as events:
                async for event in events:
                    self._version = self._take(event) or self._version
                    self._seen |= _keys(event)
        except KubeError:
            # The watch that follows the list meets the same failure, and reports it.
            return


def _keys[T: KubeObject](event: WatchEvent[T]) -> set[ObjectKey]:
    match event:
        case Added(obj) | Modified(obj) | Deleted(obj):
            return {key_of(obj)}
        case Unreadable(metadata):
            return {(metadata.namespace, metadata.name)}
        case _:
            return set()
