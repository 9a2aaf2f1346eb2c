"""Runs everything that the operator consists of, in order, and ends it in order.

Informers and servers run on every replica, so that one that takes over has warm caches and is probed and
scraped meanwhile. Controllers run only while this replica leads, and only once every cache is complete: what
is not yet in a cache looks as if it did not exist.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import structlog

from kagenti_operator import clock
from kagenti_operator.runtime.control.controller import Controller
from kagenti_operator.runtime.election.leader import LeaderElector, Leadership
from kagenti_operator.runtime.telemetry.health import Health

log = structlog.get_logger(__name__)

# Runs until it is cancelled; if it ends earlier, so does the process.
type Runnable = Callable[[], Awaitable[None]]

# How long work that is under way may go on after the stop, in seconds. With the release of the lease and the
# closing of servers the whole shutdown stays below one second.
_GRACE_SECONDS = 0.3
# People hear what is being waited for after so many seconds, and again each time they have passed.
_WAITING_SECONDS = 10.0
# A leader whose lease has been overdue for longer hangs and has to be restarted; client-go says the same.
_OVERDUE_SECONDS = 20.0


class Cache(Protocol):
    """The part of an Informer that is needed here."""

    @property
    def name(self) -> str:
        """What people know it by."""
        ...

    @property
    def synced(self) -> bool:
        """Whether it is complete."""
        ...

    async def wait_synced(self) -> None:
        """Return when `synced`."""
        ...

    async def run(self) -> None:
        """Follow the API server until cancelled."""
        ...


class EndedUnexpectedly(Exception):
    """Something that runs as long as the process has ended."""


class Manager:
    """The root of all tasks."""

    def __init__(
        self,
        *,
        informers: Sequence[Cache],
        controllers: Sequence[Controller[Any]],
        elector: LeaderElector | None,
        leadership: Leadership,
        health: Health,
        always: Mapping[str, Runnable] | None = None,
        leading: Mapping[str, Runnable] | None = None,
    ) -> None:
        """`always` runs on every replica, `leading` beside the controllers; both are named for people.

        Without an elector this replica leads at once. Adds its checks to `health`.
        """
        self._informers = informers
        self._controllers = controllers
        self._elector = elector
        self._always = {f"informer {i.name}": i.run for i in informers} | dict(always or {})
        self._beside_controllers = dict(leading or {})
        self._in_charge = False
        self._running: list[asyncio.Task[None]] = []
        health.alive["tasks"] = self._check_tasks
        health.alive["leader-election"] = partial(_check_lease, leadership)
        health.ready["informers"] = self._check_informers

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then end in order within a second.

        Raises LeadershipLost, EndedUnexpectedly, or whatever ended one of the tasks; the lease is released
        then too, if it is still ours.
        """
        try:
            async with asyncio.TaskGroup() as group:
                self._running = [
                    group.create_task(_run_for_ever(name, run), name=name)
                    for name, run in self._always.items()
                ]
                await self._compete(stop)
                for task in self._running:
                    task.cancel()
        except BaseExceptionGroup as failures:
            # One failure cancels all others: it is what matters, and a group around it only hides it.
            if len(failures.exceptions) == 1:
                raise failures.exceptions[0] from None
            raise

    async def _compete(self, stop: asyncio.Event) -> None:
        if self._elector is None:
            await self._lead(stop)
            return
        election = asyncio.create_task(self._elector.run(partial(self._lead, stop)), name="leader election")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            await asyncio.wait({election, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not self._in_charge:
                # It waits for the lease, which nobody needs any longer.
                election.cancel()
            await asyncio.wait({election})
        finally:
            election.cancel()
            stopping.cancel()
            await asyncio.gather(election, stopping, return_exceptions=True)
        if not election.cancelled():
            election.result()

    async def _lead(self, stop: asyncio.Event) -> None:
        self._in_charge = True
        stopping = asyncio.create_task(stop.wait(), name="stop")
        synced = asyncio.create_task(self._wait_for_caches(), name="caches")
        try:
            await asyncio.wait({stopping, synced}, return_when=asyncio.FIRST_COMPLETED)
            if synced.done():
                await synced
                await self._control(stop)
        finally:
            self._in_charge = False
            stopping.cancel()
            synced.cancel()
            await asyncio.gather(stopping, synced, return_exceptions=True)

    async def _wait_for_caches(self) -> None:
        started = clock.monotonic()
        while late := [informer for informer in self._informers if not informer.synced]:
            try:
                async with asyncio.timeout(_WAITING_SECONDS):
                    await asyncio.gather(*(informer.wait_synced() for informer in late))
            except TimeoutError:
                log.warning(
                    "Controllers cannot start yet: the first lists of these are not done",
                    informers=[informer.name for informer in late if not informer.synced],
                    seconds=round(clock.monotonic() - started),
                )
        log.info("Caches are complete, starting the controllers", controllers=len(self._controllers))

    async def _control(self, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            controllers = [
                group.create_task(controller.run(), name=f"controller {controller.name}")
                for controller in self._controllers
            ]
            others = [
                group.create_task(_run_for_ever(name, run), name=name)
                for name, run in self._beside_controllers.items()
            ]
            await stop.wait()
            log.info("Stopping")
            for controller in self._controllers:
                controller.stop()
            for task in others:
                task.cancel()
            await self._grant_grace(controllers)

    async def _grant_grace(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        try:
            async with asyncio.timeout(_GRACE_SECONDS):
                await asyncio.gather(*map(asyncio.shield, tasks))
        except TimeoutError:
            cut_off = [task for task in tasks if not task.done()]
            log.info("Cutting off work that is under way", controllers=[task.get_name() for task in cut_off])
            for task in cut_off:
                task.cancel()

    def _check_tasks(self) -> str | None:
        dead = [task.get_name() for task in self._running if task.done()]
        return f"ended: {', '.join(dead)}" if dead else None

    def _check_informers(self) -> str | None:
        late = [informer.name for informer in self._informers if not informer.synced]
        return f"not listed yet: {', '.join(late)}" if late else None


def _check_lease(leadership: Leadership) -> str | None:
    overdue = leadership.overdue_seconds
    return f"the lease is overdue for {overdue:.0f} s" if overdue > _OVERDUE_SECONDS else None


async def _run_for_ever(name: str, run: Runnable) -> None:
    await run()
    raise EndedUnexpectedly(f"{name} has ended, which it never should; the process ends to be started anew")
