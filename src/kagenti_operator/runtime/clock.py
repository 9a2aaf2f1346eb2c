"""Time as the runtime sees it: passed in, so that a test can own it."""

import asyncio
import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time for what people and the API read, monotonic time for everything that is measured."""

    def now(self) -> datetime:
        """Return the wall time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds since some fixed moment; never set back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds; zero or less only yields to the loop."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """Return the wall time, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return the seconds of the kernel's monotonic clock, which runs on while a process is stopped."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
        await asyncio.sleep(max(seconds, 0))


async def within[T](clock: Clock, seconds: float, work: Awaitable[T]) -> T:
    """Return the result of `work`; raise TimeoutError, with `work` cancelled, when it takes longer.

    `asyncio.timeout` goes by the event loop's time, which a test cannot own.
    """
    task = asyncio.ensure_future(work)
    alarm = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait({task, alarm}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise TimeoutError(f"not done within {seconds:g} s")
        return task.result()
    finally:
        for pending in (task, alarm):
            pending.cancel()
        await asyncio.gather(task, alarm, return_exceptions=True)
