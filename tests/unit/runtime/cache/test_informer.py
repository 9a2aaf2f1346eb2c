"""An informer against an API server that a test plays, with time that a test owns."""

import asyncio

import pytest
import structlog

from kagenti_operator.backoff import LONGEST_ASKED_SECONDS
from kagenti_operator.runtime.cache.object_cache import Selection
from kagenti_operator.runtime.cache.watch_states import BACKOFF
from tests.support.fake_apiserver import FIRST_BACKOFF, FakeApiServer, run_fake_apiserver
from tests.support.peer import until
from tests.support.virtual_time import advance
from tests.support.widget import WIDGETS, bookmark, event, page, wire

pytestmark = pytest.mark.virtual_time


async def test_nothing_is_shown_before_the_last_page(api: FakeApiServer) -> None:
    first = await api.list_request()
    assert first.path == "/apis/example.com/v1/widgets"
    assert first.query == {"limit": "500"}
    await first.answer(200, page(10, wire("a", 1), more="token"))
    second = await api.list_request()
    assert second.query == {"limit": "500", "continue": "token"}
    assert (api.names, api.informer.synced, api.informer.cache.served.value) == ([], False, False)
    await second.answer(200, page(10, wire("b", 2)))
    await api.informer.wait_synced()
    assert (api.names, api.events, api.informer.cache.served.value) == (["a", "b"], ["+a", "+b"], True)


async def test_the_watch_begins_where_the_list_stood(api: FakeApiServer) -> None:
    await api.listed(10)
    watch = await api.watch_request(10)
    assert watch.query["allowWatchBookmarks"] == "true"
    assert 300 <= int(watch.query["timeoutSeconds"]) <= 600


async def test_changes_arrive_as_they_happen(api: FakeApiServer) -> None:
    watch = await api.watching(10, wire("a", 1))
    watch.send(event("ADDED", wire("b", 11)), event("MODIFIED", wire("a", 12, 5)))
    await until(lambda: api.events == ["+a", "+b", "~a"])
    stored = api.informer.cache.get("team1", "a")
    assert stored is not None
    assert stored.size == 5
    watch.send(event("DELETED", wire("b", 13)))
    await until(lambda: api.names == ["a"])
    assert api.events[-1] == "-b"


async def test_a_watch_that_ends_in_order_goes_on_from_its_last_event(api: FakeApiServer) -> None:
    watch = await api.watching(10)
    watch.send(event("ADDED", wire("a", 11)))
    watch.end()
    resumed = await api.stream(11, bookmark(40))
    resumed.end()
    await api.watch_request(40)
    assert api.events == ["+a"]


async def test_a_broken_watch_resumes_after_a_pause_and_nothing_is_listed_again(api: FakeApiServer) -> None:
    watch = await api.watching(10)
    watch.send(event("ADDED", wire("a", 11)))
    await until(lambda: api.events)
    watch.cut()
    await api.pause(of_at_most=FIRST_BACKOFF)
    await api.stream(11, event("DELETED", wire("a", 12)))
    await until(lambda: api.events == ["+a", "-a"])


async def test_a_refused_watch_is_tried_again_with_longer_and_longer_pauses(api: FakeApiServer) -> None:
    await api.listed(10)
    for longest in (1.6, 3.2, 6.4, 12.8, 25.6, 30, 30):
        await (await api.watch_request(10)).refuse(500, "InternalError")
        await advance(longest / 2 - 0.01)
        assert api.peer.idle
        await advance(longest / 2 + 0.01)
        assert not api.peer.idle
    await api.watch_request(10)


async def test_a_pause_that_the_server_asks_for_is_kept(api: FakeApiServer) -> None:
    await api.listed(10)
    await (await api.watch_request(10)).answer(429, None, {"Retry-After": "20"})
    await advance(19.9)
    assert api.peer.idle
    await advance(0.2 + BACKOFF.first)
    assert not api.peer.idle
    await api.watch_request(10)


async def test_a_pause_that_nobody_would_understand_is_cut_short(api: FakeApiServer) -> None:
    await (await api.list_request()).answer(429, None, {"Retry-After": "86400"})
    await api.pause(of_at_most=LONGEST_ASKED_SECONDS + BACKOFF.step(1))
    await api.listed(10)
    await (await api.watch_request(10)).answer(503, None, {"Retry-After": "86400"})
    await api.pause(of_at_most=LONGEST_ASKED_SECONDS + BACKOFF.step(1))
    await api.watch_request(10)


async def test_a_silent_watch_is_dropped_and_resumed_and_that_is_no_trouble() -> None:
    with structlog.testing.capture_logs() as logs:
        async with run_fake_apiserver(silence_seconds=150) as api:
            watch = await api.watching(10)
            watch.send(bookmark(11))
            await advance(149)
            assert not watch.disconnected()
            await advance(2)
            assert watch.disconnected()
            await api.watch_request(11)
    assert logs == []


@pytest.mark.parametrize("within", ["the answer", "the stream"])
async def test_a_version_that_is_too_old_is_listed_again_and_what_was_missed_is_reported(
    api: FakeApiServer, within: str
) -> None:
    watch = await api.watching(10, wire("kept", 1), wire("changed", 2), wire("deleted", 3), wire("again", 4))
    watch.send(bookmark(11))
    watch.end()
    api.events.clear()
    late = await api.watch_request(11)
    if within == "the answer":
        await late.refuse(410, "Expired")
    else:
        late.begin_stream()
        late.send(event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}))
        late.end()
    again = wire("again", 90, uid="another")
    await api.listed(99, wire("kept", 1), wire("changed", 50), wire("added", 60), again)
    await api.watch_request(99)
    assert sorted(api.events) == ["+added", "+again", "-again", "-deleted", "~changed"]
    assert api.names == ["added", "again", "changed", "kept"]


async def test_changes_do_not_wait_for_the_last_page_when_a_fleet_is_listed_again(api: FakeApiServer) -> None:
    watch = await api.watching(10, wire("kept", 1), wire("changed", 2), wire("deleted", 3), wire("lost", 4))
    await api.informer.wait_synced()
    api.events.clear()
    watch.send(
        bookmark(11),
        event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}),
    )
    watch.end()
    missed = wire("missed", 98)
    await (await api.list_request()).answer(200, page(99, wire("changed", 2), missed, more="token"))
    requests = [await api.peer.request() for _ in range(2)]
    ahead, last = sorted(requests, key=lambda request: "watch" not in request.query)
    assert api.events == ["+missed"]
    assert ahead.query["resourceVersion"] == "99"
    ahead.begin_stream()
    ahead.send(event("ADDED", wire("new", 100)), event("MODIFIED", wire("changed", 101, 7)))
    ahead.send(event("DELETED", wire("deleted", 102)))
    at_once = ["+missed", "+new", "~changed", "-deleted"]
    await until(lambda: api.events == at_once)
    # The list shows an older moment, and changes nothing that the watch has brought already.
    await last.answer(200, page(99, wire("deleted", 3), wire("kept", 1)))
    await api.watch_request(102)
    await until(ahead.disconnected)
    assert api.events == [*at_once, "-lost"]
    assert api.names == ["changed", "kept", "missed", "new"]


async def test_a_list_that_fails_keeps_what_was_watched_beside_it(api: FakeApiServer) -> None:
    watch = await api.watching(10, wire("a", 1))
    await api.informer.wait_synced()
    watch.send(
        bookmark(11),
        event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}),
    )
    watch.end()
    await (await api.list_request()).answer(200, page(99, more="token"))
    requests = [await api.peer.request() for _ in range(2)]
    ahead, last = sorted(requests, key=lambda request: "watch" not in request.query)
    ahead.begin_stream()
    ahead.send(event("ADDED", wire("new", 100)))
    await until(lambda: api.names == ["a", "new"])
    await last.refuse(500, "InternalError")
    await until(ahead.disconnected)
    await api.pause(of_at_most=FIRST_BACKOFF)
    await (await api.list_request()).answer(200, page(99, wire("a", 1)))
    await api.watch_request(100)
    assert api.names == ["a", "new"]


async def test_an_error_within_the_stream_that_is_no_410_only_resumes(api: FakeApiServer) -> None:
    watch = await api.watching(10)
    watch.send(event("ERROR", {"kind": "Status", "code": 500, "reason": "InternalError", "message": "oops"}))
    watch.end()
    await api.pause(of_at_most=FIRST_BACKOFF)
    await api.watch_request(10)


async def test_an_expired_page_begins_the_list_anew_without_mixing_two(api: FakeApiServer) -> None:
    await (await api.list_request()).answer(200, page(10, wire("old", 1), more="token"))
    await (await api.list_request()).refuse(410, "Expired")
    await api.pause(of_at_most=FIRST_BACKOFF)
    again = await api.list_request()
    assert "continue" not in again.query
    await again.answer(200, page(20, wire("new", 15)))
    await api.watch_request(20)
    assert api.names == ["new"]


async def test_a_page_that_failed_is_asked_for_again_and_the_others_are_not(api: FakeApiServer) -> None:
    await (await api.list_request()).answer(200, page(10, wire("a", 1), more="token"))
    await (await api.list_request()).refuse(500, "InternalError")
    await api.pause(of_at_most=FIRST_BACKOFF)
    second = await api.list_request()
    assert second.query["continue"] == "token"
    await second.answer(200, page(10, wire("b", 2)))
    await api.watch_request(10)
    assert api.names == ["a", "b"]


async def test_an_object_that_does_not_fit_is_logged_and_treated_as_absent(api: FakeApiServer) -> None:
    with structlog.testing.capture_logs() as logs:
        watch = await api.watching(10, wire("good", 1), wire("bad", 2, "large"), wire("turns", 3))
        watch.send(event("MODIFIED", wire("turns", 11, "huge")), event("MODIFIED", wire("bad", 12, 4)))
        await until(lambda: api.names == ["bad", "good"])
    assert api.events == ["+good", "+turns", "-turns", "+bad"]
    assert [(line["name"], line["problem"]) for line in logs if line["log_level"] == "error"] == [
        ("bad", "Expected `int`, got `str` - at `$.size`"),
        ("turns", "Expected `int`, got `str` - at `$.object.size`"),
    ]


async def test_a_server_that_is_gone_is_tried_again_until_it_is_back(api: FakeApiServer) -> None:
    watch = await api.watching(10, wire("a", 1))
    watch.cut()
    for _ in range(4):
        await api.pause(of_at_most=30)
        # aiohttp by itself repeats a GET once when the connection breaks before the answer.
        (await api.watch_request(10)).cut()
        (await api.watch_request(10)).cut()
    await api.pause(of_at_most=30)
    await api.stream(10, event("ADDED", wire("b", 11)))
    await until(lambda: api.names == ["a", "b"])


@pytest.mark.parametrize("what", ["list", "watch"])
async def test_a_login_page_in_the_place_of_an_answer_takes_nothing_away(
    api: FakeApiServer, what: str
) -> None:
    watch = await api.watching(10, wire("a", 1))
    await until(lambda: api.names == ["a"])
    watch.send(bookmark(11))
    watch.end()
    if what == "list":
        await (await api.watch_request(11)).refuse(410, "Expired")
        await (await api.list_request()).answer(200, b"<html>log in</html>\n")
        await api.pause(of_at_most=2 * FIRST_BACKOFF)
        await api.listed(12, wire("a", 1))
        await api.watch_request(12)
    else:
        await (await api.watch_request(11)).answer(200, b"<html>log in</html>\n")
        await api.pause(of_at_most=FIRST_BACKOFF)
        await api.watch_request(11)
    assert api.events == ["+a"]


async def test_it_is_known_how_long_ago_the_kind_was_heard(api: FakeApiServer) -> None:
    def heard() -> float | None:
        silent = api.informer.silent_seconds
        return None if silent is None else round(silent, 1)

    await (await api.list_request()).refuse(500, "InternalError")
    await api.pause(of_at_most=FIRST_BACKOFF)
    assert heard() is None
    await api.listed(10)
    watch = await api.watch_request(10)
    await advance(5)
    assert heard() == 5
    # It is heard when the watch opens, and with each bookmark, but not by a refusal.
    watch.begin_stream()
    await until(lambda: heard() == 0)
    await advance(60)
    assert heard() == 60
    watch.send(bookmark(11))
    await until(lambda: heard() == 0)
    watch.cut()
    await api.pause(of_at_most=FIRST_BACKOFF)
    await (await api.watch_request(11)).refuse(500, "InternalError")
    await advance(0.5)
    assert (heard() or 0) > 1


async def test_a_kind_that_is_not_served_is_heard_of() -> None:
    async with run_fake_apiserver() as api:
        await (await api.list_request()).answer(404)
        await api.informer.wait_synced()
        await advance(7)
        assert round(api.informer.silent_seconds or 0) == 7


async def test_a_selection_is_passed_on() -> None:
    selection = Selection(resource=WIDGETS, namespace="team1", label_selector="a=b", name="x")
    async with run_fake_apiserver(selection) as api:
        listing = await api.list_request()
        assert listing.path == "/apis/example.com/v1/namespaces/team1/widgets"
        await listing.answer(200, page(10))
        for request in (listing, await api.watch_request(10)):
            assert request.query["labelSelector"] == "a=b"
            assert request.query["fieldSelector"] == "metadata.name=x"
        assert api.informer.name == "widgets.example.com team1 a=b metadata.name=x"


async def test_events_that_come_all_at_once_are_all_taken(api: FakeApiServer) -> None:
    watch = await api.watching(10)
    watch.send(*(event("ADDED", wire(f"g{n}", 11 + n, n)) for n in range(2000)))
    await until(lambda: len(api.informer.cache) == 2000)
    watch.end()
    await api.watch_request(2010)


async def test_nothing_is_left_behind_however_often_a_watch_is_resumed(api: FakeApiServer) -> None:
    watch = await api.watching(10)
    tasks: list[int] = []
    for turn in range(100):
        name = f"g{turn}"
        watch.send(event("ADDED", wire(name, 11 + 3 * turn)), event("DELETED", wire(name, 12 + 3 * turn)))
        if turn % 2:
            watch.end()
        else:
            await until(lambda name=name: f"-{name}" in api.events)
            watch.cut()
            await api.pause(of_at_most=FIRST_BACKOFF)
        watch = await api.stream(12 + 3 * turn)
        tasks.append(len(asyncio.all_tasks() - api.peer.connections))
    assert api.names == []
    assert max(tasks[50:]) <= max(tasks[:10])
