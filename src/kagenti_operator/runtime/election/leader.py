"""Leader election: of several replicas only the holder of a Lease writes.

As in client-go, a holder renews every retry period and gives up at the renew deadline, well before the lease
runs out; whoever waits takes over when the record has not changed for the lease's duration by its own
monotonic clock. No two machines' clocks are ever compared: the times in the record are for people. Unlike
client-go, a replica that was stopped and goes on later is fenced: `Leadership.held` turns false by the clock
alone.
"""

import asyncio
import random
import socket
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog

from kagenti_operator import clock
from kagenti_operator.backoff import jittered
from kagenti_operator.kube.errors import ApiError, KubeError
from kagenti_operator.runtime.election.lease import (
    API_VERSION,
    KIND,
    Lease,
    LeaseStore,
    Record,
    held_record,
    released_record,
)
from kagenti_operator.runtime.telemetry.events import EventRecorder, ObjectRef
from kagenti_operator.runtime.telemetry.metrics import Metrics
from kagenti_operator.runtime.telemetry.standing import Standing

log = structlog.get_logger(__name__)

# client-go waits up to 2.2 retry periods between two tries. Up to 1.5 still spreads the replicas, and lets a
# handover, the old leader's shutdown included, take less than five seconds.
_JITTER = 0.5
# What an orderly shutdown may spend on telling of it and, that included, on giving the lease back: with the
# manager's grace less than two seconds, and enough for three answers over a line of half a second each.
_FLUSH_SECONDS = 0.1
_RELEASE_SECONDS = 1.6
# What the work may take to end once leadership is lost, in seconds: less than the lease still runs.
_CANCEL_SECONDS = 2.0


class LeadershipLost(Exception):
    """This replica led and may not any longer: the process has to end, another one works on."""


@dataclass(frozen=True, kw_only=True)
class LeaseSettings:
    """Names of the lease and of its holder, and the durations in seconds."""

    name: str
    namespace: str
    identity: str
    duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0

    @property
    def attempt_timeout(self) -> float:
        """How long one attempt may take, so that a dead connection leaves time for another."""
        return self.renew_deadline / 2


def process_identity() -> str:
    """Return a holder identity that no other process has, even of the same pod."""
    return f"{socket.gethostname()}_{uuid.uuid4()}"


class Leadership:
    """Whether this process may write, known at once and without a request.

    Made before the clients and the elector, because the clients' writes are fenced by it.
    """

    def __init__(self) -> None:
        self._until: float | None = None

    def held(self) -> bool:
        """Whether the lease was renewed so lately that nobody else can hold it.

        Also right for a process that was stopped for a while: time went on, so this is false until the lease
        has been renewed, should it still be ours.
        """
        return self._until is not None and clock.monotonic() < self._until

    @property
    def overdue_seconds(self) -> float:
        """For how long the renewal has been overdue; 0 where this replica does not lead."""
        return max(0.0, clock.monotonic() - self._until) if self._until is not None else 0.0

    def hold_until(self, moment: float) -> None:
        """Lead until that moment of the event loop's time."""
        self._until = moment

    def end(self) -> None:
        """Lead no longer."""
        self._until = None


class LeaderElector:
    """Competes for one lease, once."""

    def __init__(
        self,
        leases: LeaseStore,
        settings: LeaseSettings,
        leadership: Leadership,
        *,
        recorder: EventRecorder,
        metrics: Metrics,
        rng: random.Random,
    ) -> None:
        """`leases` must not be fenced by `leadership`: writing the lease is how to gain it."""
        self._leases = leases
        self._settings = settings
        self._leadership = leadership
        self._recorder = recorder
        self._rng = rng
        self._gauge = metrics.leader.labels(settings.name)
        self._gauge.set(0)
        self._log = log.bind(lease=f"{settings.namespace}/{settings.name}", identity=settings.identity)
        # Why this replica does not lead, logged once while it stays the same.
        self._problem = Standing[None]()
        # The lease as last seen, and since when its record has been the same.
        self._lease: Lease | None = None
        self._observed_at = 0.0
        # Whether the lease was written: from before the first write, which may be carried out unanswered.
        self._maybe_ours = False
        # Set from before a write until its answer: one that makes the lease ours, one that gives it back.
        self._unanswered = False
        self._unanswered_release = False
        # Held by an attempt to renew, and until when the lease is to be given back.
        self._attempt = asyncio.Lock()
        self._release_until: float | None = None

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Wait for the lease, run `lead` while holding it, and release it when `lead` has ended.

        Raises LeadershipLost, with `lead` cancelled, when the lease cannot be renewed in time.
        """
        try:
            await self._acquire()
            self._gauge.set(1)
            self._record("became leader")
            await self._lead(lead)
            self._record("stopped leading")
            await self._recorder.flush(_FLUSH_SECONDS)
        finally:
            self._gauge.set(0)
            self._leadership.end()
            if self._maybe_ours:
                await self._release()

    async def _acquire(self) -> None:
        settings = self._settings
        self._log.info("Waiting for the leader lease")
        while True:
            started = clock.monotonic()
            problem = await self._try(self._take_if_free(), settings.attempt_timeout)
            if problem is None:
                self._leadership.hold_until(started + settings.renew_deadline)
                self._log.info("Became leader")
                return
            if self._problem.holds(None, problem):
                self._log.info("Not leading", because=problem)
            await asyncio.sleep(jittered(settings.retry_period, _JITTER, self._rng))

    async def _lead(self, lead: Callable[[], Awaitable[None]]) -> None:
        work = asyncio.ensure_future(lead())
        renewal = asyncio.create_task(self._renew(), name="lease renewal")
        try:
            await asyncio.wait({work, renewal}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return await work
            self._leadership.end()
            self._maybe_ours = False
            self._log.error("Lost the leader lease", because=str(renewal.exception()))
            return await renewal
        finally:
            await self._end(work)
            self._release_until = clock.monotonic() + _RELEASE_SECONDS
            await self._end_renewal(renewal)

    async def _end_renewal(self, renewal: asyncio.Task[None]) -> None:
        """End it between two attempts: of one that is cut off nobody knows whether it was carried out."""
        try:
            async with asyncio.timeout_at(self._release_until), self._attempt:
                await self._end(renewal)
        except TimeoutError:
            await self._end(renewal)

    async def _end(self, task: asyncio.Future[Any]) -> None:
        task.cancel()
        await asyncio.wait({task}, timeout=_CANCEL_SECONDS)
        if task.done():
            # Looked at, or Python complains of a failure that nobody retrieved.
            _ = task.cancelled() or task.exception()
        else:
            self._log.error("Work did not end when cancelled; it can write no longer, and the process ends")

    async def _renew(self) -> None:
        """Renew for ever. Raises LeadershipLost."""
        settings = self._settings
        deadline = clock.monotonic() + settings.renew_deadline
        while True:
            await asyncio.sleep(settings.retry_period)
            started = clock.monotonic()
            # A process that was stopped past its deadline gets one short try: the lease may still be its own.
            seconds = min(max(deadline - started, settings.retry_period), settings.attempt_timeout)
            async with self._attempt:
                problem = await self._try(self._renew_once(), seconds)
            if problem is None:
                deadline = started + settings.renew_deadline
                self._leadership.hold_until(deadline)
            elif clock.monotonic() >= deadline:
                raise LeadershipLost(
                    f"The leader lease {settings.namespace}/{settings.name} could not be renewed within "
                    f"{settings.renew_deadline:g} s: {problem}. This process ends so that another can lead."
                )
            else:
                self._log.warning("Lease not renewed, will try again", because=problem)

    async def _try(self, attempt: Awaitable[str | None], seconds: float) -> str | None:
        """Return None if the attempt made the lease ours, else why it did not."""
        try:
            async with asyncio.timeout(seconds):
                return await attempt
        except TimeoutError:
            return f"no answer from the API server within {seconds:g} s"
        except KubeError as error:
            return str(error)

    async def _take_if_free(self) -> str | None:
        lease = await self._look()
        if lease is None:
            return await self._write(None)
        if lease.holder and lease.holder != self._settings.identity:
            runs_out = self._observed_at + lease.duration
            if clock.monotonic() < runs_out:
                return f"held by {lease.holder}"
            self._log.info("The leader does not renew its lease, taking over", leader=lease.holder)
        return await self._write(lease)

    async def _renew_once(self) -> str | None:
        try:
            return await self._write(self._lease)
        except ApiError as error:
            if not (error.conflict or error.not_found):
                raise
        # Somebody changed the lease: its labels perhaps, or its holder.
        lease = await self._look()
        if lease is not None and lease.holder != self._settings.identity:
            raise LeadershipLost(
                f"The leader lease {self._settings.namespace}/{self._settings.name} is held by "
                f"{lease.holder or 'nobody'} now. This process ends; the holder works on."
            )
        return await self._write(lease)

    async def _look(self) -> Lease | None:
        lease = await self._leases.get()
        if lease is None or self._lease is None or lease.record != self._lease.record:
            self._observed_at = clock.monotonic()
        self._lease = lease
        return lease

    async def _write(self, lease: Lease | None) -> None:
        """Make the lease ours, provided that it is still as given. Raises KubeError."""
        self._maybe_ours = self._unanswered = True
        before: Record = lease.record if lease else {}
        record = held_record(before, self._settings.identity, self._settings.duration, clock.now())
        if lease is None:
            self._lease = await self._leases.create(record)
        else:
            self._lease = await self._leases.replace(lease, record)
        self._unanswered = False
        self._observed_at = clock.monotonic()

    async def _release(self) -> None:
        """Give the lease back at once, so that whoever waits need not wait for it to run out."""
        until = self._release_until or clock.monotonic() + _RELEASE_SECONDS
        try:
            async with asyncio.timeout_at(until):
                await self._give_back()
        except (KubeError, TimeoutError) as error:
            message = "Lease not released: another replica has to wait until it has run out"
            if self._unanswered_release:
                message = "Lease perhaps not released: if so, another replica waits until it has run out"
            nothing = f"no answer from the API server within {_RELEASE_SECONDS:g} s"
            self._log.warning(message, error=str(error) or nothing)

    async def _give_back(self) -> None:
        lease = self._lease
        # Read anew only where it may be another than is known: each answer takes its time.
        if self._unanswered or lease is None:
            lease = await self._look()
        try:
            await self._free(lease)
        except ApiError as error:
            if not error.conflict:
                raise
            # Somebody changed it, or a write that was cut off has arrived.
            await self._free(await self._look())

    async def _free(self, lease: Lease | None) -> None:
        if lease is None or lease.holder != self._settings.identity:
            self._log.info("The leader lease is not ours any more", holder=lease.holder if lease else "")
            return
        self._unanswered_release = True
        try:
            await self._leases.replace(lease, released_record(lease.record, clock.now()))
        except ApiError as error:
            # What a server fails at may have been carried out all the same.
            self._unanswered_release = error.status >= 500
            raise
        self._log.info("Released the leader lease")

    def _record(self, what: str) -> None:
        lease = self._lease
        ref = ObjectRef(
            api_version=API_VERSION,
            kind=KIND,
            name=self._settings.name,
            namespace=self._settings.namespace,
            uid=lease.uid if lease else "",
        )
        self._recorder.normal(ref, "LeaderElection", f"{self._settings.identity} {what}", action="Elect")
