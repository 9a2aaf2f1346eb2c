"""An API whose versions come and go: the newest one that is served is followed."""

from dataclasses import replace

import pytest

from kagenti_operator.runtime.cache.object_cache import Selection
from kagenti_operator.runtime.cache.watch_states import DOUBTS
from tests.support.fake_apiserver import FIRST_BACKOFF, FakeApiServer, run_fake_apiserver
from tests.support.peer import PeerRequest, until
from tests.support.widget import WIDGETS, event, page, wire

pytestmark = pytest.mark.virtual_time

VERSIONED = Selection(resource=replace(WIDGETS, version="v2", older_versions=("v1",)))
NEW, OLD = "/apis/example.com/v2/widgets", "/apis/example.com/v1/widgets"


async def request_at(api: FakeApiServer, path: str, *, watch: bool = False) -> PeerRequest:
    request = await api.peer.request()
    assert (request.path, "watch" in request.query) == (path, watch)
    return request


async def watch_older(api: FakeApiServer, *, listed: int) -> PeerRequest:
    """What happens on a cluster that serves only the older version."""
    await (await request_at(api, NEW)).answer(404)
    await (await request_at(api, OLD)).answer(200, page(listed, wire("a", 1)))
    watch = await request_at(api, OLD, watch=True)
    watch.begin_stream()
    return watch


async def test_the_newest_version_is_followed_where_it_is_served() -> None:
    async with run_fake_apiserver(VERSIONED) as api:
        await (await request_at(api, NEW)).answer(200, page(10, wire("a", 1)))
        await request_at(api, NEW, watch=True)
        assert api.informer.resource.api_version == "example.com/v2"


async def test_an_older_version_is_followed_where_the_newest_is_not_served() -> None:
    async with run_fake_apiserver(VERSIONED) as api:
        await watch_older(api, listed=10)
        assert api.informer.resource.api_version == "example.com/v1"
        assert api.events == ["+a"]


async def test_a_version_that_appears_is_found_when_the_watch_ends() -> None:
    async with run_fake_apiserver(VERSIONED) as api:
        watch = await watch_older(api, listed=10)
        watch.send(event("MODIFIED", wire("a", 11)))
        watch.end()
        await (await request_at(api, NEW)).answer(200, page(11, wire("a", 11)))
        await request_at(api, NEW, watch=True)
        assert api.informer.resource.api_version == "example.com/v2"
        assert api.events == ["+a", "~a"]


async def test_a_version_that_is_tried_is_not_the_one_to_write_with_yet() -> None:
    async with run_fake_apiserver(VERSIONED) as api:
        watch = await watch_older(api, listed=10)
        watch.send(event("MODIFIED", wire("a", 11)))
        watch.end()
        tried = await request_at(api, NEW)
        assert api.informer.resource.api_version == "example.com/v1"
        await tried.answer(404)
        await (await request_at(api, OLD)).answer(404)
        for _ in range(DOUBTS - 1):
            await (await request_at(api, NEW)).answer(404)
            await (await request_at(api, OLD)).answer(404)
        await until(lambda: api.events[-1] == "-a")
        assert api.informer.resource.api_version == "example.com/v1"


async def test_an_older_version_that_is_no_longer_served_costs_no_object() -> None:
    async with run_fake_apiserver(VERSIONED) as api:
        (await watch_older(api, listed=10)).cut()
        await api.pause(of_at_most=FIRST_BACKOFF)
        await (await request_at(api, OLD, watch=True)).answer(404)
        await api.pause(of_at_most=30)
        await (await request_at(api, NEW)).answer(200, page(12, wire("a", 1)))
        await request_at(api, NEW, watch=True)
        assert api.events == ["+a"]


async def test_an_api_that_is_served_at_no_version_is_absent() -> None:
    async with run_fake_apiserver(VERSIONED) as api:
        await (await request_at(api, NEW)).answer(404)
        await (await request_at(api, OLD)).answer(404)
        await api.informer.wait_synced()
        assert not api.informer.cache.served.value
