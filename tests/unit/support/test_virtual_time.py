"""The loop on which other tests rely: it must not jump past anything that can still happen."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from kagenti_operator import clock
from tests.support.peer import running_peer
from tests.support.virtual_time import START, VirtualTimeLoop, advance, set_wall, settle, skip, timers

pytestmark = pytest.mark.virtual_time


async def test_hours_pass_at_once_and_the_time_of_day_with_them() -> None:
    began, really = clock.monotonic(), time.monotonic()
    await asyncio.sleep(3600)
    assert clock.monotonic() - began == pytest.approx(3600)
    assert clock.now() - START == pytest.approx(timedelta(hours=1), abs=timedelta(milliseconds=1))
    assert time.monotonic() - really < 60


async def test_whoever_sleeps_wakes_at_their_own_moment_and_in_order() -> None:
    began = clock.monotonic()
    woken: list[float] = []

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append(round(clock.monotonic() - began, 3))

    async with asyncio.TaskGroup() as group:
        for seconds in (30, 10, 20):
            group.create_task(sleep(seconds))
        await settle()
        assert (woken, timers()) == ([], 3)
        await advance(20)
        assert woken == [10, 20]
    assert woken == [10, 20, 30]


async def test_a_timeout_ends_what_takes_longer() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(60):
            await asyncio.Event().wait()


async def test_time_stands_still_while_anything_runs() -> None:
    began = clock.monotonic()
    sleeping = asyncio.create_task(asyncio.sleep(0.001))
    for _ in range(1000):
        await asyncio.sleep(0)
    assert clock.monotonic() == began
    assert not sleeping.done()
    await sleeping


async def test_time_stands_still_while_a_thread_works() -> None:
    began = clock.monotonic()
    async with asyncio.timeout(0.001):
        await asyncio.to_thread(time.sleep, 0.05)
    assert clock.monotonic() == began


async def test_time_stands_still_while_data_is_on_its_way() -> None:
    began = clock.monotonic()
    async with running_peer() as peer, asyncio.timeout(0.001):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(peer.url.rpartition(":")[2]))
        writer.write(b"GET /x HTTP/1.1\r\n\r\n")
        await (await peer.request()).answer(200, b"done")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
    assert clock.monotonic() == began


async def test_a_stopped_process_finds_its_timers_overdue() -> None:
    sleeping = asyncio.create_task(asyncio.sleep(10))
    await settle()
    skip(60)
    assert not sleeping.done()
    await settle()
    assert sleeping.done()


async def test_the_loop_does_not_notice_that_the_time_of_day_is_set() -> None:
    began, day = clock.monotonic(), datetime(2031, 1, 1, tzinfo=UTC)
    set_wall(day)
    assert (clock.now(), clock.monotonic()) == (day, began)


def test_waiting_for_what_can_never_come_fails_instead_of_hanging() -> None:
    loop = VirtualTimeLoop()
    with pytest.raises(RuntimeError, match="no timer that could end it"):
        loop.run_until_complete(asyncio.Event().wait())
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
