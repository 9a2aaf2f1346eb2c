"""Kubernetes Events, on the object that people would describe.

Recording never waits and never fails: events are deduplicated and limited at once, and a background task
sends them. What is said again and again becomes a series whose count is written ever more rarely, and an
object about which too much is said falls silent for a while, as with client-go.
"""

import asyncio
import random
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from kagenti_operator import clock
from kagenti_operator.backoff import Backoff
from kagenti_operator.contract import KAGENTI
from kagenti_operator.kube.errors import ApiError, KubeError, Unreachable
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.resources import EVENTS, Resource
from kagenti_operator.plain_text import excerpt
from kagenti_operator.runtime.election.fencing import NotLeading
from kagenti_operator.runtime.election.lease import micro_time
from kagenti_operator.runtime.telemetry.event_series import (
    BURST,
    REFILL_SECONDS,
    EventType,
    ObjectRef,
    Series,
    Statement,
)
from kagenti_operator.runtime.telemetry.standing import Standing
from kagenti_operator.token_bucket import TokenBucket

log = structlog.get_logger(__name__)


# Limits of the API server's validation, in bytes.
_MAX_NOTE = 1024
_MAX_NAME = 253
_EVENT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NOT_IN_LABEL = re.compile(r"[^a-z0-9]")
_MAX_QUEUED = 1000
# Texts are up to a kilobyte long; what is forgotten begins a new series.
_MAX_REMEMBERED = 1000
# The API server keeps events for an hour: a series that pauses longer than this begins anew.
_SERIES_PAUSE_SECONDS = 1800.0
# client-go tries 12 times as well, but every 10 s: this bridges a short outage sooner and a long one better.
# While the API server cannot be reached an event is tried for about four minutes, one of many for longer.
_MAX_TRIES = 12
_BACKOFF = Backoff(first=1.0, longest=30.0, jitter=0.25)
# Between two that are tried again: where every event fails there may be a thousand.
_RETRY_SECONDS = 0.2


class EventSink(Protocol):
    """The part of a KubeClient that recording needs."""

    async def create(self, resource: Resource[KubeObject], body: Mapping[str, Any]) -> KubeObject:
        """See KubeClient."""
        ...

    async def merge_patch(
        self,
        resource: Resource[KubeObject],
        name: str,
        body: Mapping[str, Any],
        namespace: str | None = None,
    ) -> KubeObject:
        """See KubeClient."""
        ...


@dataclass(frozen=True)
class _Delayed:
    """An event that the API server failed at, and that is tried again at that moment."""

    series: Series
    attempt: int
    due: float


class EventRecorder:
    """Takes events at any time and sends them one after the other while `run` runs."""

    def __init__(
        self,
        client: EventSink,
        *,
        instance: str,
        rng: random.Random,
        controller: str = KAGENTI.manager,
    ) -> None:
        """`controller` says which program reports, `instance` which replica of it: the pod's name."""
        self._client = client
        self._controller = controller
        self._instance = instance
        self._rng = rng
        # Both are in order of last use, the longest unused first.
        self._series: OrderedDict[Statement, Series] = OrderedDict()
        self._budgets: OrderedDict[ObjectRef, TokenBucket] = OrderedDict()
        self._unsent: OrderedDict[Statement, Series] = OrderedDict()
        self._delayed: dict[Statement, _Delayed] = {}
        self._retry_at = 0.0
        self._sending = 0
        # How often in a row there was no answer, or the server shed load: all are held back then.
        self._unheard = 0
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        # What keeps events from being recorded: logged once each while it lasts.
        self._trouble = Standing[object]()

    def normal(self, about: ObjectRef, reason: str, message: str, *, action: str = "Reconcile") -> bool:
        """Record something that people may like to know. `reason` is one CamelCase word.

        Returns False where it is dropped because too much is said; said again later, it may get through.
        """
        return self._record(_statement(about, "Normal", reason, action, message))

    def warning(self, about: ObjectRef, reason: str, message: str, *, action: str = "Reconcile") -> bool:
        """Record something that people should act on; see `normal`."""
        return self._record(_statement(about, "Warning", reason, action, message))

    async def run(self) -> None:
        """Send what was recorded until cancelled."""
        while True:
            while found := self._next():
                self._sending = 1
                await self._send(*found)
                self._sending = 0
            if not self._delayed:
                self._idle.set()
            self._wake.clear()
            await self._wait()

    def _next(self) -> tuple[Statement, Series, int] | None:
        """The event to send now, and which of its tries that is."""
        if self._unsent:
            return *self._unsent.popitem(last=False), 1
        now = clock.monotonic()
        due = next((statement for statement, it in self._delayed.items() if it.due <= now), None)
        if due is None or now < self._retry_at:
            return None
        self._retry_at = now + _RETRY_SECONDS
        delayed = self._delayed.pop(due)
        return due, delayed.series, delayed.attempt

    async def _wait(self) -> None:
        """Return when something new is recorded, or something delayed is due."""
        due = min((delayed.due for delayed in self._delayed.values()), default=None)
        try:
            async with asyncio.timeout_at(due and max(due, self._retry_at)):
                await self._wake.wait()
        except TimeoutError:
            return

    async def flush(self, seconds: float) -> None:
        """Wait until everything recorded was sent or refused, but not longer than that."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            log.warning("Events could not be sent in time", events=self._waiting + self._sending)

    @property
    def _waiting(self) -> int:
        return len(self._unsent) + len(self._delayed)

    def _record(self, statement: Statement) -> bool:
        series = self._count(statement)
        waits = statement in self._unsent or statement in self._delayed
        if waits or not series.worth_writing():
            return True
        if not self._may_say(statement.about):
            return False
        if self._waiting >= _MAX_QUEUED:
            if self._trouble.holds("overflow", ""):
                log.warning("Too many events wait to be sent, new ones are dropped", events=self._waiting)
            return False
        self._trouble.ends("overflow")
        self._unsent[statement] = series
        self._idle.clear()
        self._wake.set()
        return True

    def _count(self, statement: Statement) -> Series:
        now, time = clock.monotonic(), micro_time(clock.now())
        series = self._series.get(statement)
        if series is None or now - series.last_at > _SERIES_PAUSE_SECONDS:
            series = Series(self._event_name(statement.about), time)
        series.observe(now, time)
        _remember(self._series, statement, series)
        return series

    def _event_name(self, about: ObjectRef) -> str:
        suffix = f".{self._rng.getrandbits(64):016x}"
        # Names of some kinds may hold what those of Events may not, such as a colon.
        name = about.name if _EVENT_NAME.fullmatch(about.name) else _NOT_IN_LABEL.sub("-", about.name.lower())
        # Where a long name is cut there may be a character that must not come before a dot.
        return (name[: _MAX_NAME - len(suffix)].strip("-.") or "event") + suffix

    def _may_say(self, about: ObjectRef) -> bool:
        budget = self._budgets.get(about) or TokenBucket(BURST, 1 / REFILL_SECONDS)
        # Who is forgotten begins anew in every respect.
        self._trouble.ends(_remember(self._budgets, about, budget))
        allowed = budget.spend()
        if allowed:
            self._trouble.ends(about)
        elif self._trouble.holds(about, ""):
            log.warning(
                "Too many events about this object, further ones are dropped for a while",
                kind=about.kind,
                namespace=about.namespace,
                name=about.name,
            )
        return allowed

    async def _send(self, statement: Statement, series: Series, attempt: int) -> None:
        try:
            await self._write(statement, series)
        except KubeError as error:
            if attempt == _MAX_TRIES or not _is_passing(error):
                self._log_refusal(statement, error)
                return
            # Perhaps it fails at this one only, such as in the admission of its namespace: others go first.
            due = clock.monotonic() + _BACKOFF.delay(attempt, self._rng)
            self._delayed[statement] = _Delayed(series, attempt + 1, due)
            if isinstance(error, ApiError) and not error.too_many_requests:
                return
            self._unheard += 1
            await asyncio.sleep(_BACKOFF.delay(self._unheard, self._rng))
        else:
            self._unheard = 0

    async def _write(self, statement: Statement, series: Series) -> None:
        count, at = series.count, clock.monotonic()
        if not series.written_count or not await self._extend(statement, series):
            await self._create(statement, series)
        series.written_count, series.written_at = count, at

    async def _extend(self, statement: Statement, series: Series) -> bool:
        """Write the count into the event; return False where the event is gone by now."""
        body = {"series": series.to_wire()}
        namespace = statement.about.event_namespace
        try:
            await self._client.merge_patch(EVENTS, series.name, body, namespace)
        except ApiError as error:
            if error.not_found:
                return False
            raise
        return True

    async def _create(self, statement: Statement, series: Series) -> None:
        about = statement.about
        body: dict[str, Any] = {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": series.name, "namespace": about.event_namespace},
            "eventTime": series.began,
            "type": statement.type,
            "reason": statement.reason,
            "action": statement.action,
            "note": statement.note,
            "regarding": about.to_wire(),
            "reportingController": self._controller,
            "reportingInstance": self._instance,
        }
        if series.count > 1:
            body["series"] = series.to_wire()
        try:
            await self._client.create(EVENTS, body)
        except ApiError as error:
            # The answer to an earlier try was lost: the name is random, so the event is ours.
            if not error.already_exists:
                raise

    def _log_refusal(self, statement: Statement, error: KubeError) -> None:
        """Log that an event was not taken, once per kind of refusal; it must not fail what it is about."""
        if isinstance(error, NotLeading):
            return
        kind = (error.status, error.reason) if isinstance(error, ApiError) else (0, type(error).__name__)
        if isinstance(error, ApiError) and error.namespace_terminating:
            return
        if not self._trouble.holds(kind, ""):
            return
        log.warning(
            "Event not recorded; further ones that fail this way are dropped silently",
            error=str(error),
            reason=statement.reason,
            about=f"{statement.about.kind} {statement.about.namespace}/{statement.about.name}",
        )


def _is_passing(error: KubeError) -> bool:
    if isinstance(error, ApiError):
        return error.status >= 500 or error.too_many_requests
    return isinstance(error, Unreachable)


def _remember[K, V](memory: OrderedDict[K, V], key: K, value: V) -> K | None:
    """Keep the value as the one used last; return what had to be forgotten for it."""
    memory[key] = value
    memory.move_to_end(key)
    return memory.popitem(last=False)[0] if len(memory) > _MAX_REMEMBERED else None


def _statement(about: ObjectRef, type_: EventType, reason: str, action: str, message: str) -> Statement:
    # What tenants and servers say is in it. Cleaned here, because series remember it.
    note = excerpt(message, _MAX_NOTE)
    return Statement(about=about, type=type_, reason=reason, action=action, note=note)
