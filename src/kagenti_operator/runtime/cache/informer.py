"""Caches that follow the API server: list, then watch, whatever happens; shared by all who select them."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import assert_never

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
from kagenti_operator.runtime.cache.object_cache import (
    Handler,
    ObjectCache,
    Selection,
    is_same,
    key_of,
)
from kagenti_operator.runtime.cache.relist_watch import RelistWatch
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
    list_again,
)
from kagenti_operator.runtime.telemetry.standing import Standing

_WATCH_SECONDS = (300, 600)

log = structlog.get_logger(__name__)


class Informer[T: KubeObject]:
    """A cache of a selection, kept up to date while `run` runs.

    `resource` is what was listed last: of the versions of the selection's resource, the newest that is
    served; to write its objects with. A watch that is refused after a list that was not is trouble, not
    absence: an API server that has just started knows no permissions for a moment.
    """

    def __init__(
        self,
        client: KubeClient,
        selection: Selection[T],
        rng: random.Random,
        *,
        page_size: int = PAGE_SIZE,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self.selection = selection
        self.name = str(selection)
        self.cache = ObjectCache(selection)
        self.resource = selection.resource
        # Others began without it: until it is complete, what is not in the cache may exist all the same.
        self.late = False
        self._client = client
        self._rng = rng
        self._page_size = page_size
        self._silence_seconds = silence_seconds
        self._versions = self.resource.versions
        self._wake = asyncio.Event()
        self._listed = self.cache.empty_store()
        # Whether there has been a complete list: before that nobody acts on what is in the cache.
        self._complete = False
        self._heard_at: float | None = None
        self._relist_watch = RelistWatch(self._open_watch, self._take, self.cache)
        self._trouble = Standing[None]()
        self._log = log.bind(resource=self.resource.crd_name.rstrip("."))

    @property
    def synced(self) -> bool:
        """Whether the cache is complete."""
        return self.cache.synced.is_set()

    @property
    def deferrable(self) -> bool:
        """Whether work may begin before it is complete."""
        return self.selection.deferrable

    @property
    def silent_seconds(self) -> float | None:
        """For how long nothing has been heard of it, no bookmark either; None before the first answer."""
        return None if self._heard_at is None else clock.monotonic() - self._heard_at

    async def wait_synced(self) -> None:
        """Return when `synced`."""
        await self.cache.synced.wait()

    def subscribe(self, handler: Handler[T]) -> None:
        """Call `handler` after every change of the cache."""
        self.cache.subscribe(handler)

    def retry_now(self) -> None:
        """List at once, because the CRD appeared or changed. Cheap, and harmless where it did not."""
        self._wake.set()

    async def run(self) -> None:
        """Follow the API server until cancelled."""
        state: State = Listing()
        try:
            while True:
                state = await self._step(state)
        finally:
            await self._relist_watch.stop()

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
                return after_absence(state, announced=await self._pause(state.seconds))
            case _:
                assert_never(state)

    async def _list(self, state: Listing) -> State:
        try:
            page = await (self._page(self.resource, state) if state.continue_ else self._first_page(state))
        except KubeError as error:
            return await self._refused(state, error)
        if not state.continue_:
            self._listed = self.cache.empty_store()
            self._relist_watch.forget()
            if page.continue_ and self._complete:
                self._relist_watch.begin(page.resource_version)
        for obj in filter(self.selection.holds, page.items):
            key = key_of(obj)
            if self._relist_watch.saw(key):
                continue
            known = self.cache.get(*key)
            if known is not None and is_same(known, obj):
                self.cache.keep(key, self._listed)
                continue
            self._listed.put(key, obj)
            if self._complete:
                self.cache.put(key, obj)
        for unreadable in page.unreadable:
            self._report_unreadable(unreadable)
        version = page.resource_version
        if not page.continue_:
            await self._relist_watch.stop()
            listed, self._listed = self._listed, self.cache.empty_store()
            version = self._relist_watch.correct(listed, version)
            self.cache.adopt(listed)
            self._complete = True
            self._report_recovery()
        return after_page(state, version, page.continue_, page.limit)

    async def _first_page(self, state: Listing) -> ListPage[T]:
        if self.selection.where_served and not self._complete:
            # Refused as "not found" where it is not served: that is just what it means here.
            await self._client.raw("GET", f"/apis/{self.selection.where_served}")
        *newer, oldest = self._versions
        for resource in newer:
            try:
                return await self._page(resource, state)
            except ApiError as error:
                if not error.not_found:
                    raise
        return await self._page(oldest, state)

    async def _page(self, resource: Resource[T], state: Listing) -> ListPage[T]:
        page = await self._client.list_page(
            resource,
            namespace=self.selection.namespace,
            label_selector=self.selection.label_selector,
            field_selector=self.selection.fields,
            limit=state.limit or self._page_size,
            continue_=state.continue_,
        )
        self._hear()
        # Only now: others write with it meanwhile, and a version that is not served takes no object.
        self.resource = resource
        return page

    async def _refused(self, state: Listing, error: KubeError) -> State:
        await self._relist_watch.stop()
        following = after_refused_list(
            state, error, self._rng, optional=self.selection.optional, always_served=self._always_served
        )
        if isinstance(following, Absent):
            self._listed = self.cache.empty_store()
            forbidden = isinstance(error, ApiError) and error.forbidden
            self._report_absence(error, doubted=following.doubts > 0, lost=forbidden and self._complete)
            if not following.doubts:
                # Once it was permitted, somebody took that away: then nothing is heard of it any more.
                if not (forbidden and self._complete):
                    self._hear()
                self.cache.clear()
        else:
            self._report_failure("list", error)
        return following

    async def _watch(self, state: Watching) -> State:
        began, version, failure = clock.monotonic(), state.resource_version, None
        try:
            async with aclosing(self._open_watch(version)) as events:
                async for event in events:
                    version = self._take(event) or version
                    self._report_recovery()
        except Silent:
            # No trouble by itself: where nothing happens there is nothing to send. The next watch will show.
            pass
        except KubeError as error:
            failure = error
            self._report_failure("watch", error)
        lasted = clock.monotonic() - began
        end = WatchEnd(version, lasted, failure)
        following = after_watch(state, end, self._rng)
        if isinstance(following, Watching) and self.resource is not self._versions[0]:
            # A newer version may be served by now.
            return list_again()
        return following

    @property
    def _always_served(self) -> bool:
        return not self.resource.is_custom and not self.selection.where_served

    def _open_watch(self, version: str) -> AsyncGenerator[WatchEvent[T]]:
        return self._client.watch(
            self.resource,
            namespace=self.selection.namespace,
            label_selector=self.selection.label_selector,
            field_selector=self.selection.fields,
            resource_version=version,
            timeout_seconds=self._rng.randint(*_WATCH_SECONDS),
            silence_seconds=self._silence_seconds,
            opened=self._hear,
        )

    def _hear(self) -> None:
        self._heard_at = clock.monotonic()

    def _take(self, event: WatchEvent[T]) -> str:
        """Pass an event on; return the resource version up to which everything is known, if it has one."""
        if not isinstance(event, Refused):
            self._hear()
        match event:
            case Added(obj) | Modified(obj) if not self.selection.holds(obj):
                self.cache.remove(key_of(obj), obj.metadata.resource_version)
                return obj.metadata.resource_version
            case Added(obj) | Modified(obj):
                self.cache.put(key_of(obj), obj)
                return obj.metadata.resource_version
            case Deleted(obj):
                self.cache.remove(key_of(obj), obj.metadata.resource_version)
                return obj.metadata.resource_version
            case Bookmark(obj):
                return obj.metadata.resource_version
            case Unreadable(metadata):
                self._report_unreadable(event)
                self.cache.remove((metadata.namespace, metadata.name), metadata.resource_version)
                return metadata.resource_version
            case Refused(status):
                raise error_from_status(f"watch {self.resource.kind}", status)
            case _:
                assert_never(event)

    async def _pause(self, seconds: float) -> bool:
        """Wait, but not longer than until `retry_now`; return whether that ended it."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return False
        self._wake.clear()
        return True

    def _report_unreadable(self, unreadable: Unreadable) -> None:
        self._log.error(
            "Object does not fit its type and is treated as absent: correct the field",
            name=unreadable.metadata.name,
            namespace=unreadable.metadata.namespace,
            problem=unreadable.problem,
        )

    def _report_failure(self, verb: str, error: KubeError) -> None:
        if isinstance(error, ApiError) and error.not_found and not (verb == "list" and self._always_served):
            # The list that follows says whether the API vanished.
            return
        if isinstance(error, ApiError) and error.gone:
            self._log.info("Too far behind to resume the watch, listing again")
            return
        forbidden = isinstance(error, ApiError) and error.forbidden
        if self._trouble.holds(None, "forbidden" if forbidden else str(error)):
            message = (
                f"No permission to {verb}: grant get, list and watch"
                if forbidden
                else f"Cannot {verb}, retrying"
            )
            self._log.warning(message, error=str(error))

    def _report_absence(self, error: KubeError, *, doubted: bool, lost: bool) -> None:
        if doubted:
            if self._trouble.holds(None, "doubted"):
                self._log.info("The API was served and is not found, asking again", error=str(error))
        elif lost:
            if self._trouble.holds(None, "lost"):
                self._log.warning("No permission to list any more, counts as absent", error=str(error))
        elif isinstance(error, ApiError) and error.forbidden:
            if self._trouble.holds(None, "not permitted"):
                self._log.info("No permission to list, counts as absent", error=str(error))
        elif self._trouble.holds(None, "absent"):
            group = self.selection.where_served
            self._log.info(f"{f'API group {group}' if group else 'The API'} is not served, waiting for it")

    def _report_recovery(self) -> None:
        if self._trouble.ends(None):
            self._log.info("Up to date again")
