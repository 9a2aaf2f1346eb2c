"""An informer whose selection is found out while it runs, and may become another one."""

import asyncio
import random

from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.runtime.cache.informer import Informer
from kagenti_operator.runtime.cache.object_cache import Selection


class MovableInformer[T: KubeObject](Informer[T]):
    """Follows one selection at a time, so memory and requests are those of one, however large the cluster is.

    `followed` is None while there is nothing to follow; the cache is then empty, and counts as complete.
    After a move it is empty until the new selection is listed.
    """

    def __init__(self, client: KubeClient, selection: Selection[T], rng: random.Random) -> None:
        super().__init__(client, selection, rng)
        self.followed: Selection[T] | None = selection
        self._moved = asyncio.Event()
        self._following: asyncio.Task[None] | None = None

    def move(self, selection: Selection[T] | None) -> None:
        """Follow this selection from now on."""
        if selection == self.followed:
            return
        self.followed = selection
        # Cancelled before the cache is emptied: what it was answered meanwhile is never stored.
        if self._following is not None:
            self._following.cancel()
        self._complete = False
        self._heard_at = None
        self._listed = self.cache.empty_store()
        self.cache.replace({})
        if selection is not None:
            self.selection, self.name = selection, str(selection)
            self.cache.synced.clear()
        self._moved.set()

    async def run(self) -> None:
        """Follow the API server until cancelled."""
        while True:
            self._moved.clear()
            if self.followed is None:
                await self._moved.wait()
                continue
            following = self._following = asyncio.create_task(super().run(), name=f"follow {self.name}")
            try:
                await asyncio.wait({following})
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
            if not following.cancelled():
                following.result()
