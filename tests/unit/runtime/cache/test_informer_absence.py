"""APIs that are not served (yet, or any longer), or not permitted."""

from dataclasses import replace

import pytest
import structlog

from kagenti_operator import clock
from kagenti_operator.runtime.cache.watch_states import BACKOFF, DOUBTS
from tests.support.fake_apiserver import FIRST_BACKOFF, FakeApiServer, run_fake_apiserver
from tests.support.peer import PeerRequest, until
from tests.support.virtual_time import advance
from tests.support.widget import ALL_WIDGETS, Widget, bookmark, wire

pytestmark = pytest.mark.virtual_time


async def test_an_absent_api_is_waited_for_until_somebody_knows_that_it_appeared(api: FakeApiServer) -> None:
    await (await api.list_request()).answer(404)
    await api.informer.wait_synced()
    assert (api.informer.cache.served.value, api.names) == (False, [])
    await advance(299)
    assert api.peer.idle
    api.informer.retry_now()
    await api.listed(10, wire("a", 1))
    await until(lambda: api.informer.cache.served.value)
    assert api.events == ["+a"]


async def test_an_api_that_is_announced_but_not_served_yet_is_asked_for_soon(api: FakeApiServer) -> None:
    await (await api.list_request()).answer(404)
    await api.informer.wait_synced()
    api.informer.retry_now()
    await (await api.list_request()).answer(404)
    await api.pause(of_at_most=FIRST_BACKOFF)
    await api.listed(10, wire("a", 1))
    await until(lambda: api.informer.cache.served.value)


async def test_an_api_that_nobody_announces_is_found_within_minutes(api: FakeApiServer) -> None:
    await (await api.list_request()).answer(404)
    await api.pause(of_at_most=600)
    await api.listed(10)
    await until(lambda: api.informer.cache.served.value)


async def test_an_api_that_appears_between_the_question_and_the_answer_is_not_missed(
    api: FakeApiServer,
) -> None:
    early = await api.list_request()
    api.informer.retry_now()
    await early.answer(404)
    await api.listed(10)
    await until(lambda: api.informer.cache.served.value)


async def test_when_the_api_vanishes_all_its_objects_are_deleted(api: FakeApiServer) -> None:
    served = api.informer.cache.served
    changes: list[bool] = []
    served.subscribe(lambda: changes.append(served.value))
    watch = await api.watching(10, wire("a", 1), wire("b", 2))
    watch.send(bookmark(11))
    watch.end()
    await (await api.watch_request(11)).answer(404)
    for _ in range(DOUBTS):
        # Another server, which does not know the CRD yet, would say the same.
        assert (api.names, served.value) == (["a", "b"], True)
        await (await api.list_request()).answer(404)
        await api.pause(of_at_most=2 * BACKOFF.step(DOUBTS))
    await until(lambda: api.events == ["+a", "+b", "-a", "-b"])
    assert (api.names, api.informer.synced, changes) == ([], True, [True, False])
    await api.listed(20, wire("c", 15))
    await until(lambda: api.names == ["c"])
    assert changes == [True, False, True]


async def test_a_watch_that_is_not_found_while_the_list_is_loses_nothing(api: FakeApiServer) -> None:
    watch = await api.watching(10, wire("a", 1))
    watch.send(bookmark(11))
    watch.end()
    await (await api.watch_request(11)).answer(404)
    await api.listed(12, wire("a", 1))
    await api.watch_request(12)
    assert api.events == ["+a"]


async def test_a_crd_that_one_of_several_servers_does_not_know_yet_is_asked_for_soon(
    api: FakeApiServer,
) -> None:
    watch = await api.watching(10, wire("a", 1))
    watch.send(bookmark(11))
    watch.end()
    with structlog.testing.capture_logs() as logs:
        await (await api.watch_request(11)).answer(404)
        await (await api.list_request()).answer(404)
        await api.pause(of_at_most=FIRST_BACKOFF)
        await api.listed(12, wire("a", 1))
        await api.watch_request(12)
    assert (api.events, api.informer.cache.served.value) == (["+a"], True)
    assert [line["event"] for line in logs] == [
        "The API was served and is not found, asking again",
        "Up to date again",
    ]


async def test_a_missing_permission_is_logged_once_and_over_when_granted(api: FakeApiServer) -> None:
    words = 'widgets is forbidden: User "x" cannot list resource "widgets"'
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            await (await api.list_request()).refuse(403, "Forbidden", message=words)
            await api.pause(of_at_most=30)
        await api.listed(10)
        await api.informer.wait_synced()
    assert [(line["log_level"], line["event"]) for line in logs] == [
        ("warning", "No permission to list: grant get, list and watch"),
        ("info", "Up to date again"),
    ]
    assert words in logs[0]["error"]
    assert logs[0]["resource"] == "widgets.example.com"


async def test_what_is_optional_counts_as_absent_without_permission_and_is_asked_for_again() -> None:
    async with run_fake_apiserver(replace(ALL_WIDGETS, optional=True)) as api:
        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                await (await api.list_request()).refuse(403, "Forbidden", message="not yours")
                await api.informer.wait_synced()
                assert api.names == []
                await advance(29)
                assert api.peer.idle
                await api.pause(of_at_most=31)
            watch = await api.watching(10, wire("a", 3))
            await until(lambda: api.names == ["a"])
        assert [line["event"] for line in logs] == [
            "No permission to list, counts as absent",
            "Up to date again",
        ]
        # An API server that has just started knows no permissions for a moment.
        watch.send(bookmark(11))
        watch.end()
        await (await api.watch_request(11)).refuse(403, "Forbidden", message="not yours")
        await api.pause(of_at_most=FIRST_BACKOFF)
        await api.watch_request(11)
        assert api.names == ["a"]


async def test_a_permission_that_was_taken_away_shows_in_how_long_nothing_was_heard() -> None:
    async with run_fake_apiserver(replace(ALL_WIDGETS, optional=True)) as api:
        await (await api.list_request()).refuse(403, "Forbidden", message="not yours")
        await api.informer.wait_synced()
        # Where it never was permitted that is somebody's choice.
        assert api.informer.silent_seconds == pytest.approx(0, abs=1)
        await api.pause(of_at_most=61)
        watch = await api.watching(10, wire("a", 3))
        await until(lambda: api.names == ["a"])
        watch.send({"type": "ERROR", "object": {"code": 410, "reason": "Expired"}})
        watch.end()
        before = clock.monotonic()
        with structlog.testing.capture_logs() as logs:
            while clock.monotonic() < before + 900:
                await (await api.list_request()).refuse(403, "Forbidden", message="not yours")
                await api.pause(of_at_most=61)
        assert api.names == []
        assert api.informer.silent_seconds == pytest.approx(clock.monotonic() - before, abs=5)
        warnings = [line["event"] for line in logs if line["log_level"] == "warning"]
        assert warnings == ["No permission to list any more, counts as absent"]
        await api.watching(20, wire("a", 13))
        await until(lambda: api.names == ["a"])
        assert api.informer.silent_seconds == pytest.approx(0, abs=1)


async def test_what_belongs_to_an_api_group_is_not_asked_for_until_that_is_served() -> None:
    async with run_fake_apiserver(replace(ALL_WIDGETS, where_served="friends.example.com")) as api:

        async def asked() -> PeerRequest:
            request = await api.peer.request()
            assert request.path == "/apis/friends.example.com"
            return request

        await (await asked()).answer(404)
        await api.informer.wait_synced()
        assert (api.informer.cache.served.value, api.names) == (False, [])
        await advance(299)
        assert api.peer.idle
        # Its CRD was made, and discovery follows a moment later.
        api.informer.retry_now()
        await (await asked()).answer(404)
        await api.pause(of_at_most=FIRST_BACKOFF)
        await (await asked()).answer(200, {})
        await api.listed(10, wire("a", 1))
        await until(lambda: api.names == ["a"])
        # From then on it is left at that, however the watch ends.
        await (await api.watch_request(10)).refuse(410, "Expired")
        await api.pause(of_at_most=FIRST_BACKOFF)
        await api.listed(20, wire("a", 1))
        await api.watch_request(20)


async def test_what_every_api_server_has_is_not_believed_to_be_gone() -> None:
    """A proxy, or a server that is starting, answers 404: nothing is taken from anybody for that."""
    built_in = replace(ALL_WIDGETS, resource=replace(ALL_WIDGETS.resource, group="apps"))
    async with run_fake_apiserver(built_in) as api:
        watch = await api.watching(10, wire("a", 1))
        watch.end()
        await (await api.watch_request(10)).answer(404)
        with structlog.testing.capture_logs() as lines:
            await (await api.list_request()).answer(404)
            await api.pause(of_at_most=4 * FIRST_BACKOFF)
        assert [line["event"] for line in lines] == ["Cannot list, retrying"]
        assert (api.names, api.events) == (["a"], ["+a"])
        await api.listed(11, wire("a", 1))


async def test_a_cache_holds_only_what_it_is_to_keep() -> None:
    def is_small(widget: Widget) -> bool:
        return widget.size < 5

    small = replace(ALL_WIDGETS, keep=is_small)
    async with run_fake_apiserver(small) as api:
        watch = await api.watching(10, wire("a", 1), wire("b", 2, 7))
        watch.send({"type": "ADDED", "object": wire("c", 11, 9)})
        watch.send({"type": "MODIFIED", "object": wire("b", 12, 1)})
        watch.send({"type": "MODIFIED", "object": wire("a", 13, 6)})
        watch.send({"type": "DELETED", "object": wire("c", 14, 9)})
        watch.send({"type": "ADDED", "object": wire("d", 15)})
        await until(lambda: "+d" in api.events)
        assert api.events == ["+a", "+b", "-a", "+d"]
