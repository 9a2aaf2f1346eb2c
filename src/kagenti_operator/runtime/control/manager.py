"""Runs everything that the operator consists of, in order, and ends it in order.

Informers and servers run on every replica, so that one that takes over has warm caches and is probed and
scraped meanwhile. A replica competes for the lease only once every cache is complete: what is not yet in a
cache looks as if it did not exist. A kind that may be missing, or whose conversion webhook may be dead, is
waited for only so long: then the controllers that need it wait alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import structlog

from kagenti_operator import clock
from kagenti_operator.cancellation import is_being_cancelled
from kagenti_operator.runtime.control.controller import Controller
from kagenti_operator.runtime.election.leader import LeaderElector, Leadership
from kagenti_operator.runtime.telemetry.health import Health

log = structlog.get_logger(__name__)

# Runs until it is cancelled; if it ends earlier, so does the process.
type Runnable = Callable[[], Awaitable[None]]

# How long work that is under way may go on after the stop, in seconds. With the release of the lease and the
# closing of servers the whole shutdown stays below two seconds, over a quick line below one.
_GRACE_SECONDS = 0.3
# People hear what is being waited for after so many seconds, and again each time they have passed.
_WAITING_SECONDS = 10.0
# How long what is deferrable is waited for.
DEFER_SECONDS = 30.0
# A leader whose lease has been overdue for longer hangs and has to be restarted; client-go says the same.
_OVERDUE_SECONDS = 20.0


class Cache(Protocol):
    """The part of an Informer that is needed here.

    `late`: others began without it.
    """

    late: bool

    @property
    def name(self) -> str:
        """What people know it by."""
        ...

    @property
    def synced(self) -> bool:
        """Whether it is complete."""
        ...

    @property
    def deferrable(self) -> bool:
        """Whether others may begin without it."""
        ...

    @property
    def silent_seconds(self) -> float | None:
        """For how long nothing has been heard of the kind; None before the first answer."""
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
        self._following: list[asyncio.Task[None]] = []
        health.alive["tasks"] = self._check_tasks
        health.alive["leader-election"] = partial(_check_lease, leadership)
        health.ready["informers"] = self._check_informers
        health.notes["late-informers"] = self._note_late
        health.details["informers"] = self._describe_informers

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then end in order within two seconds.

        Raises LeadershipLost, EndedUnexpectedly, or whatever ended one of the tasks; the lease is released
        then too, if it is still ours.
        """
        try:
            async with asyncio.TaskGroup() as group:
                self._running = [
                    group.create_task(_run_for_ever(name, run), name=name)
                    for name, run in self._always.items()
                ]
                if await self._wait_for_caches(stop):
                    self._following = [
                        group.create_task(self._follow_late(informer), name=f"late {informer.name}")
                        for informer in self._informers
                        if informer.late
                    ]
                    await self._compete(stop)
                for task in (*self._running, *self._following):
                    task.cancel()
        except BaseExceptionGroup as failures:
            # One failure cancels all others: it is what matters, and a group around it only hides it.
            if len(failures.exceptions) == 1:
                raise failures.exceptions[0] from None
            raise

    async def _compete(self, stop: asyncio.Event) -> None:
        if self._elector is None:
            await self._control(stop)
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
        elif not stop.is_set():
            raise EndedUnexpectedly("leader election was cancelled; the process ends to be started anew")

    async def _lead(self, stop: asyncio.Event) -> None:
        self._in_charge = True
        try:
            await self._control(stop)
        finally:
            self._in_charge = False

    async def _wait_for_caches(self, stop: asyncio.Event) -> bool:
        """Return True when work may begin, False where the stop comes before."""
        stopping = asyncio.create_task(stop.wait(), name="stop")
        known = asyncio.create_task(self._wait_until_known(), name="caches")
        try:
            await asyncio.wait({stopping, known}, return_when=asyncio.FIRST_COMPLETED)
            if not known.done():
                return False
            await known
            return True
        finally:
            stopping.cancel()
            known.cancel()
            await asyncio.gather(stopping, known, return_exceptions=True)

    async def _wait_until_known(self) -> None:
        started = clock.monotonic()
        while late := [informer for informer in self._informers if not informer.synced]:
            waited = round(clock.monotonic() - started)
            if waited >= DEFER_SECONDS and all(informer.deferrable for informer in late):
                for informer in late:
                    informer.late = True
                log.warning(
                    "Starting without these, which cannot be listed: what needs them waits, and of what they "
                    "may hold nothing is revoked",
                    informers=[informer.name for informer in late],
                )
                return
            if waited:
                log.warning(
                    "Controllers cannot start yet: the first lists of these are not done",
                    informers=[informer.name for informer in late],
                    seconds=waited,
                )
            try:
                async with asyncio.timeout(_WAITING_SECONDS):
                    await asyncio.gather(*(informer.wait_synced() for informer in late))
            except TimeoutError:
                continue
        log.info("Caches are complete, starting the controllers", controllers=len(self._controllers))

    async def _follow_late(self, informer: Cache) -> None:
        await informer.wait_synced()
        informer.late = False
        log.info("Listed in the end, working with it from now on", informer=informer.name)
        # Only now is it known what is not there.
        for controller in self._controllers:
            controller.resync()

    async def _run_controller(self, controller: Controller[Any]) -> None:
        if missing := controller.waits_for:
            log.info("Controller waits", controller=controller.name, informers=missing)
            await controller.wait_for_caches()
        await controller.run()

    async def _control(self, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            controllers = {
                controller: group.create_task(
                    self._run_controller(controller), name=f"controller {controller.name}"
                )
                for controller in self._controllers
            }
            others = [
                group.create_task(_run_for_ever(name, run), name=name)
                for name, run in self._beside_controllers.items()
            ]
            await stop.wait()
            log.info("Stopping")
            for controller in self._controllers:
                controller.stop()
            for task in (*others, *(task for it, task in controllers.items() if not it.running)):
                task.cancel()
            await self._grant_grace([task for it, task in controllers.items() if it.running])

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
        missing = [informer.name for informer in self._informers if not (informer.synced or informer.late)]
        return f"not listed yet: {', '.join(missing)}" if missing else None

    def _note_late(self) -> str | None:
        late = [informer.name for informer in self._informers if informer.late]
        if not late:
            return None
        return f"cannot be listed, and what needs them waits (the log says why): {', '.join(late)}"

    def _describe_informers(self) -> str:
        return "".join(f"{informer.name}: {_describe_age(informer)}\n" for informer in self._informers)


def _describe_age(informer: Cache) -> str:
    silent = informer.silent_seconds
    return "not heard yet" if silent is None else f"heard {silent:.0f} s ago"


def _check_lease(leadership: Leadership) -> str | None:
    overdue = leadership.overdue_seconds
    return f"the lease is overdue for {overdue:.0f} s" if overdue > _OVERDUE_SECONDS else None


async def _run_for_ever(name: str, run: Runnable) -> None:
    try:
        await run()
    except asyncio.CancelledError:
        if is_being_cancelled():
            raise
    raise EndedUnexpectedly(f"{name} has ended, which it never should; the process ends to be started anew")
