"""A clock that stands still until a test advances it."""

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta


async def settle(turns: int = 50) -> None:
    """Let every task that can run do so."""
    for _ in range(turns):
        await asyncio.sleep(0)


class VirtualClock:
    """Fulfils `Clock`; wall and monotonic time move together, except by `set_wall`."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._wall = start
        self._monotonic = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> datetime:
        return self._wall

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        wake = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic + seconds, next(self._order), wake))
        await wake

    @property
    def sleeping(self) -> int:
        """How many sleeps are under way."""
        return sum(not wake.done() for _, _, wake in self._sleepers)

    def set_wall(self, wall: datetime) -> None:
        """Set the wall clock as an administrator or NTP would; monotonic time does not notice."""
        self._wall = wall

    def freeze_for(self, seconds: float) -> None:
        """Let time pass without anybody running, as for a process that is stopped."""
        self._wall += timedelta(seconds=seconds)
        self._monotonic += seconds

    async def advance(self, seconds: float) -> None:
        """Let time pass: every sleeper wakes at its own moment and runs before the next one does."""
        target = self._monotonic + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= target:
            due, _, wake = heapq.heappop(self._sleepers)
            self.freeze_for(max(due - self._monotonic, 0.0))
            if not wake.done():
                wake.set_result(None)
                await settle()
        self.freeze_for(target - self._monotonic)
        await settle()
