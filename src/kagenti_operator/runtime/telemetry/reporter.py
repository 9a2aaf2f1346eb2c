"""Reports what holds for an object, by Events and log lines: once, before that expires, and when over."""

from collections.abc import Collection, Hashable, Iterable

import msgspec
import structlog

from kagenti_operator.backoff import Backoff
from kagenti_operator.runtime.telemetry.event_series import EventType, ObjectRef
from kagenti_operator.runtime.telemetry.events import EventRecorder
from kagenti_operator.runtime.telemetry.standing import Standing

# A little less than the half hour after which the recorder begins a new Event for what it hears again.
REPEAT_SECONDS = 1500.0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Something that holds. `log`: it also becomes a log line; `over`: the Event's text when it has ended."""

    reason: str
    message: str
    type: EventType = "Warning"
    log: bool = False
    over: str = ""


class Reporter[K: Hashable]:
    """Takes, for each key, all that holds now."""

    def __init__(self, events: EventRecorder, logger: str) -> None:
        """`logger` is the name under which log lines appear."""
        self._events = events
        self._log = structlog.get_logger(logger)
        self._standing = Standing[tuple[K, str]](Backoff(first=REPEAT_SECONDS, longest=REPEAT_SECONDS))
        # By key: the reasons that hold, each with what to say when it is over.
        self._reasons: dict[K, dict[str, str]] = {}
        # Too much was said about the object: said again at the next report, the Event may get through.
        self._dropped: set[tuple[K, str]] = set()

    def report(
        self, key: K, about: ObjectRef | None, reports: Iterable[Report], *, unknown: Collection[str] = ()
    ) -> None:
        """These hold for `key` from now on, nothing else does. Without an object only the log has them.

        `unknown`: reasons that cannot be judged now; what held of them goes on to hold, unsaid.
        """
        holding = {report.reason: report for report in reports}
        known = self._reasons.pop(key, {})
        kept = {reason: over for reason, over in known.items() if reason in unknown and reason not in holding}
        for reason, over in known.items():
            if reason not in holding and reason not in kept:
                self._end(key, about, reason, over)
        for report in holding.values():
            self._say(key, about, report)
        if holding or kept:
            self._reasons[key] = kept | {reason: report.over for reason, report in holding.items()}

    def forget(self, key: K) -> None:
        """The object is gone: nothing holds, and there is nobody to say it to."""
        for reason in self._reasons.pop(key, {}):
            self._standing.ends((key, reason))
            self._dropped.discard((key, reason))

    def _say(self, key: K, about: ObjectRef | None, report: Report) -> None:
        condition = (key, report.reason)
        due = self._standing.holds(condition, report.message)
        if due and report.log:
            log = self._log.warning if report.type == "Warning" else self._log.info
            log(report.message, reason=report.reason)
        if about is None or not (due or condition in self._dropped):
            return
        record = self._events.warning if report.type == "Warning" else self._events.normal
        if record(about, report.reason, report.message):
            self._dropped.discard(condition)
        else:
            self._dropped.add(condition)

    def _end(self, key: K, about: ObjectRef | None, reason: str, over: str) -> None:
        self._standing.ends((key, reason))
        self._dropped.discard((key, reason))
        if not over:
            return
        self._log.info(over, reason=reason)
        if about is not None:
            self._events.normal(about, f"{reason}Resolved", over)
