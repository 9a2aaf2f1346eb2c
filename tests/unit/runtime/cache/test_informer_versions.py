"""An API whose versions come and go: the newest one that is served is followed."""

from dataclasses import replace

import pytest

from kagenti_operator.runtime.cache.object_cache import Selection
from tests.support.fake_apiserver import FIRST_BACKOFF, Desk, opened_desk
from tests.support.peer import PeerRequest, until
from tests.support.widget import GADGETS, event, page, wire

pytestmark = pytest.mark.virtual_time

VERSIONED = Selection(resource=replace(GADGETS, version="v2", older_versions=("v1",)))
NEW, OLD = "/apis/example.com/v2/gadgets", "/apis/example.com/v1/gadgets"


async def request_at(desk: Desk, path: str, *, watch: bool = False) -> PeerRequest:
    request = await desk.peer.request()
    assert (request.path, "watch" in request.query) == (path, watch)
    return request


async def watch_older(desk: Desk, *, listed: int) -> PeerRequest:
    """What happens on a cluster that serves only the older version."""
    await (await request_at(desk, NEW)).answer(404)
    await (await request_at(desk, OLD)).answer(200, page(listed, wire("a", 1)))
    watch = await request_at(desk, OLD, watch=True)
    watch.begin_stream()
    return watch


async def test_the_newest_version_is_followed_where_it_is_served() -> None:
    async with opened_desk(VERSIONED) as desk:
        await (await request_at(desk, NEW)).answer(200, page(10, wire("a", 1)))
        await request_at(desk, NEW, watch=True)
        assert desk.informer.resource.api_version == "example.com/v2"


async def test_an_older_version_is_followed_where_the_newest_is_not_served() -> None:
    async with opened_desk(VERSIONED) as desk:
        await watch_older(desk, listed=10)
        assert desk.informer.resource.api_version == "example.com/v1"
        assert desk.events == ["+a"]


async def test_a_version_that_appears_is_found_when_the_watch_ends() -> None:
    async with opened_desk(VERSIONED) as desk:
        watch = await watch_older(desk, listed=10)
        watch.send(event("MODIFIED", wire("a", 11)))
        watch.end()
        await (await request_at(desk, NEW)).answer(200, page(11, wire("a", 11)))
        await request_at(desk, NEW, watch=True)
        assert desk.informer.resource.api_version == "example.com/v2"
        assert desk.events == ["+a", "~a"]


async def test_a_version_that_is_tried_is_not_the_one_to_write_with_yet() -> None:
    async with opened_desk(VERSIONED) as desk:
        watch = await watch_older(desk, listed=10)
        watch.send(event("MODIFIED", wire("a", 11)))
        watch.end()
        tried = await request_at(desk, NEW)
        assert desk.informer.resource.api_version == "example.com/v1"
        await tried.answer(404)
        await (await request_at(desk, OLD)).answer(404)
        await until(lambda: desk.events[-1] == "-a")
        assert desk.informer.resource.api_version == "example.com/v1"


async def test_an_older_version_that_is_no_longer_served_costs_no_object() -> None:
    async with opened_desk(VERSIONED) as desk:
        (await watch_older(desk, listed=10)).cut()
        await desk.pause(of_at_most=FIRST_BACKOFF)
        await (await request_at(desk, OLD, watch=True)).answer(404)
        await desk.pause(of_at_most=30)
        await (await request_at(desk, NEW)).answer(200, page(12, wire("a", 1)))
        await request_at(desk, NEW, watch=True)
        assert desk.events == ["+a"]


async def test_an_api_that_is_served_at_no_version_is_absent() -> None:
    async with opened_desk(VERSIONED) as desk:
        await (await request_at(desk, NEW)).answer(404)
        await (await request_at(desk, OLD)).answer(404)
        await desk.informer.wait_synced()
        assert not desk.informer.cache.served.value
