"""An event loop whose time is virtual: it stands still while anything can run, then jumps to the next timer.

Hours pass in milliseconds, and always the same way. A test asks for it by `pytest.mark.virtual_time`; then
`kagenti_operator.clock`, `asyncio.sleep` and `asyncio.timeout` go by it. It is not looptime's, because timers
share the loop with real sockets on loopback here: a client's backoff, and the server that a test plays.
"""

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import Context
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)
# What was sent on loopback arrives sooner than after so many seconds of real time.
_IN_FLIGHT_SECONDS = 0.05
# Shorter than any wait that means something, longer than the loop takes for the same moment.
_MOMENT_SECONDS = 1e-6


class _Selector(selectors.DefaultSelector):
    """Where a loop waits for sockets and timers; here it jumps to the timer where no socket is ready."""

    # How many threads are at work for the loop, which must not jump past them.
    threads = 0
    now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # One socket is the loop's own, by which threads wake it.
        waits_for_sockets = len(self.get_map()) > 1
        if timeout is not None and timeout <= 0:
            return super().select(0)
        if self.threads:
            return super().select(None)
        ready = super().select(_IN_FLIGHT_SECONDS if waits_for_sockets else 0)
        if ready:
            return ready
        if timeout is not None:
            self.now += timeout
            return []
        if waits_for_sockets:
            return super().select(None)
        raise RuntimeError("every task waits for another, and there is no timer that could end it")


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        self._wall = START - timedelta(seconds=self._virtual.now)
        self._handles: list[asyncio.TimerHandle] = []
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now

    def now(self) -> datetime:
        return self._wall + timedelta(seconds=self._virtual.now)

    def set_wall(self, wall: datetime) -> None:
        self._wall = wall - timedelta(seconds=self._virtual.now)

    def skip(self, seconds: float) -> None:
        self._virtual.now += seconds

    @property
    def timers(self) -> int:
        self._handles = [h for h in self._handles if not h.cancelled() and h.when() > self._virtual.now]
        return len(self._handles)

    def call_at[*Ts](
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = super().call_at(when, callback, *args, context=context)
        self._handles.append(handle)
        return handle

    def run_in_executor[*Ts, T](
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self._virtual.threads += 1
        future.add_done_callback(self._thread_ended)
        return future

    def _thread_ended(self, _: object) -> None:
        self._virtual.threads -= 1

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        self._virtual.threads += 1
        await super().shutdown_default_executor(timeout)
        self._virtual.threads -= 1


def running() -> VirtualTimeLoop:
    """The loop that runs, of a test that is marked for virtual time."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return loop


def now() -> datetime:
    """In the place of `clock.now`."""
    return running().now()


async def settle() -> None:
    """Let every task run until it waits for time, or for another; only a moment passes."""
    await asyncio.sleep(_MOMENT_SECONDS)


async def advance(seconds: float) -> None:
    """Let time pass: whoever sleeps wakes at its own moment, and runs before the next one does."""
    await asyncio.sleep(seconds)
    await settle()


def skip(seconds: float) -> None:
    """Let time pass without anybody running, as for a process that is stopped."""
    running().skip(seconds)


def set_wall(wall: datetime) -> None:
    """Set the time of day as an administrator or NTP would; the loop's time does not notice."""
    running().set_wall(wall)


def timers() -> int:
    """How many timers are under way."""
    return running().timers
