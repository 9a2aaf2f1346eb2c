"""Keeps a copy of one list of the API server up to date: lists it, then watches it, whatever happens."""

import asyncio
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from typing import Protocol, assert_never

import structlog

from kagenti_operator import clock
from kagenti_operator.kube.client import PAGE_SIZE, SILENCE_SECONDS, KubeClient
from kagenti_operator.kube.errors import ApiError, KubeError, Silent, error_from_status
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.resources import Resource
from kagenti_operator.kube.watch import (
    Added,
    Bookmark,
    Deleted,
    ListPage,
    Modified,
    Refused,
    Unreadable,
    WatchEvent,
)
from kagenti_operator.runtime.cache.relist_watch import Lookahead
from kagenti_operator.runtime.cache.store import Key, key_of
from kagenti_operator.runtime.cache.watch_states import (
    Absent,
    Listing,
    State,
    Waiting,
    WatchEnd,
    Watching,
    after_absence,
    after_page,
    after_refused_list,
    after_watch,
)

_WATCH_SECONDS = (300, 600)

_log = structlog.get_logger("runtime.reflector")


class Sink[T: KubeObject](Protocol):
    """Who keeps the copy."""

    def known(self, key: Key) -> T | None:
        """Return the copy of an object."""
        ...

    def replace(self, objects: Mapping[Key, T]) -> None:
        """These are all objects that there are."""
        ...

    def put(self, key: Key, obj: T) -> None:
        """An object is new or changed."""
        ...

    def remove(self, key: Key, resource_version: str) -> None:
        """An object is gone since that version."""
        ...

    def vanish(self) -> None:
        """The API itself is not served: there are no objects, and will be none until `replace`."""
        ...


class Reflector[T: KubeObject]:
    """Lists and watches what a selector admits of one resource, and tells a sink.

    `resource` is what was listed last: of the versions that it was given, the newest that is served.
    `optional`: what may not be listed counts as absent, until a later try may. A watch that is refused after
    that is trouble: an API server that has just started knows no permissions for a moment.
    `where_served`: an API group; until it is served nothing is asked for, and there is nothing.
    `retry_now` ends a wait: somebody knows that the API appeared.
    """

    def __init__(
        self,
        client: KubeClient,
        resource: Resource[T],
        sink: Sink[T],
        *,
        namespace: str | None,
        label_selector: str,
        field_selector: str,
        optional: bool = False,
        where_served: str = "",
        rng: random.Random,
        page_size: int = PAGE_SIZE,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self._client = client
        self.resource = resource
        self._versions = resource.versions
        self._sink = sink
        self._namespace = namespace
        self._labels = label_selector
        self._fields = field_selector
        self._optional = optional
        self._where_served = where_served
        self._rng = rng
        self._page_size = page_size
        self._silence_seconds = silence_seconds
        self._wake = asyncio.Event()
        self._listed: dict[Key, T] = {}
        # Whether there has been a complete list: before that nobody acts on what is in the cache.
        self._complete = False
        self._ahead = Lookahead(self._open_watch, self._take, sink.known)
        self._trouble: str | None = None
        self._log = _log.bind(resource=resource.crd_name.rstrip("."))

    def retry_now(self) -> None:
        """Do not wait any longer, not even for the next wait that is about to begin."""
        self._wake.set()

    async def run(self) -> None:
        """Reflect until cancelled."""
        state: State = Listing()
        try:
            while True:
                state = await self._step(state)
        finally:
            await self._ahead.stop()

    async def _step(self, state: State) -> State:
        match state:
            case Listing():
                return await self._list(state)
            case Watching():
                return await self._watch(state)
            case Waiting():
                await self._pause(state.seconds)
                return state.then
            case Absent():
                return after_absence(state, told=await self._pause(state.seconds))
            case _:
                assert_never(state)

    async def _list(self, state: Listing) -> State:
        try:
            page = await (
                self._page(self.resource, state.continue_) if state.continue_ else self._first_page()
            )
        except KubeError as error:
            return await self._refused(state, error)
        if not state.continue_:
            self._listed = {}
            self._ahead.forget()
            if page.continue_ and self._complete:
                self._ahead.begin(page.resource_version)
        for obj in page.items:
            key = key_of(obj)
            if self._ahead.has_told(key):
                continue
            known = self._sink.known(key)
            if known is not None and _same(known, obj):
                # Keeps the copy that exists, so that a second list of a large fleet costs little memory.
                self._listed[key] = known
                continue
            self._listed[key] = obj
            if self._complete:
                self._sink.put(key, obj)
        for unreadable in page.unreadable:
            self._tell_unreadable(unreadable)
        version = page.resource_version
        if not page.continue_:
            await self._ahead.stop()
            listed, self._listed = self._listed, {}
            version = self._ahead.correct(listed, version)
            self._sink.replace(listed)
            self._complete = True
            self._tell_recovery()
        return after_page(state, version, page.continue_)

    async def _first_page(self) -> ListPage[T]:
        if self._where_served and not self._complete:
            # Refused as "not found" where it is not served: that is just what it means here.
            await self._client.raw("GET", f"/apis/{self._where_served}")
        *newer, oldest = self._versions
        for resource in newer:
            try:
                return await self._page(resource)
            except ApiError as error:
                if not error.not_found:
                    raise
        return await self._page(oldest)

    async def _page(self, resource: Resource[T], continue_: str = "") -> ListPage[T]:
        page = await self._client.list_page(
            resource,
            namespace=self._namespace,
            label_selector=self._labels,
            field_selector=self._fields,
            limit=self._page_size,
            continue_=continue_,
        )
        # Only now: others write with it meanwhile, and a version that is not served takes no object.
        self.resource = resource
        return page

    async def _refused(self, state: Listing, error: KubeError) -> State:
        await self._ahead.stop()
        following = after_refused_list(state, error, self._rng, optional=self._optional)
        if isinstance(following, Absent):
            self._listed = {}
            self._tell_absence(error)
            self._sink.vanish()
        else:
            self._tell_trouble("list", error)
        return following

    async def _watch(self, state: Watching) -> State:
        began, version, failure = clock.monotonic(), state.resource_version, None
        try:
            async with aclosing(self._open_watch(version)) as events:
                async for event in events:
                    version = self._take(event) or version
                    self._tell_recovery()
        except Silent:
            # No trouble by itself: where nothing happens there is nothing to tell. The next watch will show.
            pass
        except KubeError as error:
            failure = error
            self._tell_trouble("watch", error)
        lasted = clock.monotonic() - began
        end = WatchEnd(version, lasted, failure)
        following = after_watch(state, end, self._rng)
        if isinstance(following, Watching) and self.resource is not self._versions[0]:
            # A newer version may be served by now.
            return Listing()
        return following

    def _open_watch(self, version: str) -> AsyncGenerator[WatchEvent[T]]:
        return self._client.watch(
            self.resource,
            namespace=self._namespace,
            label_selector=self._labels,
            field_selector=self._fields,
            resource_version=version,
            timeout_seconds=self._rng.randint(*_WATCH_SECONDS),
            silence_seconds=self._silence_seconds,
        )

    def _take(self, event: WatchEvent[T]) -> str:
        """Pass an event on; return the resource version up to which everything is known, if it tells."""
        match event:
            case Added(obj) | Modified(obj):
                self._sink.put(key_of(obj), obj)
                return obj.metadata.resource_version
            case Deleted(obj):
                self._sink.remove(key_of(obj), obj.metadata.resource_version)
                return obj.metadata.resource_version
            case Bookmark(obj):
                return obj.metadata.resource_version
            case Unreadable(metadata):
                self._tell_unreadable(event)
                self._sink.remove((metadata.namespace, metadata.name), metadata.resource_version)
                return metadata.resource_version
            case Refused(status):
                raise error_from_status(f"watch {self.resource.kind}", status)
            case _:
                assert_never(event)

    async def _pause(self, seconds: float) -> bool:
        """Wait, but not longer than until `retry_now`; return whether that ended it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        told = self._wake.is_set()
        self._wake.clear()
        return told

    def _tell_unreadable(self, unreadable: Unreadable) -> None:
        self._log.error(
            "Object does not fit its type, treated as absent: correct the field",
            name=unreadable.metadata.name,
            namespace=unreadable.metadata.namespace,
            problem=unreadable.problem,
        )

    def _tell_trouble(self, verb: str, error: KubeError) -> None:
        if isinstance(error, ApiError) and error.not_found:
            # The list that follows says whether the API vanished.
            return
        if isinstance(error, ApiError) and error.gone:
            self._log.info("Too far behind to resume, listing again")
        elif isinstance(error, ApiError) and error.forbidden:
            if self._is_news("forbidden"):
                self._log.warning(f"No permission to {verb}: grant get, list and watch", error=str(error))
        elif self._is_news(str(error)):
            self._log.warning(f"Cannot {verb}, trying again", error=str(error))

    def _tell_absence(self, error: KubeError) -> None:
        if isinstance(error, ApiError) and error.forbidden:
            if self._is_news("private"):
                self._log.info("No permission to list, counts as absent", error=str(error))
        elif self._is_news("absent"):
            awaited = f"API group {self._where_served}" if self._where_served else "The API"
            self._log.info(f"{awaited} is not served, waiting for it")

    def _is_news(self, trouble: str) -> bool:
        """Return whether this trouble has just begun; it is told then, and not at every try."""
        news = trouble != self._trouble
        self._trouble = trouble
        return news

    def _tell_recovery(self) -> None:
        if self._trouble is not None:
            self._trouble = None
            self._log.info("Up to date again")


def _same(known: KubeObject, obj: KubeObject) -> bool:
    a, b = known.metadata, obj.metadata
    return a.resource_version == b.resource_version and a.uid == b.uid
