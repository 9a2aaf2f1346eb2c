"""Several informers of one kind as one: the API's label selectors cannot say "or"."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.resources import Resource
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.cache.object_cache import (
    Event,
    Handler,
    ObjectCache,
    Removed,
    is_same,
    key_of,
)
from kagenti_operator.runtime.cache.object_store import ObjectKey

# What leaves one selection for another leaves it by one watch and comes by another, some time later.
MOVE_SECONDS = 1.0


class MergedInformer[T: KubeObject]:
    """What any of the informers holds, each object once; it holds the objects that they do.

    An object that leaves one selection and is in another stays; one that has left all of them goes a moment
    later. The informers are run by whoever runs all others.
    """

    def __init__(self, informers: Sequence[Informer[T]]) -> None:
        """`informers` select objects of one kind by other labels, with the same indexes."""
        self._informers = informers
        first = informers[0].selection
        selector = " or ".join(informer.selection.label_selector for informer in informers)
        selection = replace(first, label_selector=selector)
        self.name = str(selection)
        self.cache = ObjectCache(selection)
        self._leaving: dict[ObjectKey, asyncio.TimerHandle] = {}
        for informer in informers:
            informer.subscribe(self._on_event)
            informer.cache.served.subscribe(self._on_served)

    @property
    def resource(self) -> Resource[T]:
        """The resource at the version that was listed last."""
        return self._informers[0].resource

    @property
    def synced(self) -> bool:
        """Whether all of them are complete."""
        return all(informer.synced for informer in self._informers)

    @property
    def late(self) -> bool:
        """Whether others began without one of them."""
        return any(informer.late for informer in self._informers)

    async def wait_synced(self) -> None:
        """Return when each of them has been complete."""
        for informer in self._informers:
            await informer.wait_synced()

    def subscribe(self, handler: Handler[T]) -> None:
        """Call `handler` after every change of the cache."""
        self.cache.subscribe(handler)

    def _on_event(self, event: Event[T]) -> None:
        key = key_of(event.object)
        held = self._held(key)
        if isinstance(event, Removed) and not held:
            if key not in self._leaving:
                loop = asyncio.get_running_loop()
                self._leaving[key] = loop.call_later(MOVE_SECONDS, self._leave, key)
            return
        if leaving := self._leaving.pop(key, None):
            leaving.cancel()
        for obj in held:
            known = self.cache.get(*key)
            # Whom two selectors match comes twice, and has changed once.
            if known is None or not is_same(known, obj):
                self.cache.put(key, obj)

    def _leave(self, key: ObjectKey) -> None:
        del self._leaving[key]
        if self.cache.get(*key) is not None:
            # Whatever version that copy was of, nobody has it any more.
            self.cache.remove(key, "")

    def _held(self, key: ObjectKey) -> list[T]:
        found = (informer.cache.get(*key) for informer in self._informers)
        return [obj for obj in found if obj is not None]

    def _on_served(self) -> None:
        self.cache.served.set(any(informer.cache.served.value for informer in self._informers))
