"""What goes wrong, when: plain data, so that a schedule can be shrunk and printed."""

import random
from collections.abc import Iterable
from dataclasses import dataclass

from kagenti_operator import clock
from tests.support.simulation.wire import Reply, Request

# The kernel drops what is not acknowledged after so many seconds (election/fencing.py): nothing is under way
# for longer, and a lease that was lost meanwhile is nobody else's before that.
LONGEST_WAY_SECONDS = 3.5

# Of requests, while they last.
REFUSE, LOSE_REQUEST, LOSE_ANSWER = "refuse", "lose request", "lose answer"
HANG, MUTE, SLOW = "hang", "mute", "slow"
EXPIRED_PAGES, STALE, UNKNOWN_API, LAG = "expired pages", "stale replica", "unknown API", "watch lags"
# All watches end, and none is let in again; then what happened meanwhile is not known any more, and lists are
# refused for a while as well.
BLACKOUT = "blackout"
# Of open watches, at once.
CUT_WATCHES, EXPIRE_WATCHES, SILENCE, COMPACT = "cut watches", "expire watches", "silence watches", "compact"
# Of the operator's processes.
CRASH, CRASH_AFTER_WRITE, STOP, FREEZE, UNPLUG = "crash", "crash after write", "stop", "freeze", "unplug"
MLFLOW = "MLflow "
# The part of a blackout after which history is forgotten.
LATE = 0.6


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that goes wrong, by the simulation's clock.

    `share`: of the requests that it is about. `verbs`: methods, or WATCH and LIST; empty: all. `plural`: the
    resource. `value`: a status, seconds, or which one.
    """

    at: float
    what: str
    seconds: float = 0.0
    share: float = 1.0
    verbs: str = ""
    plural: str = ""
    value: int = 0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What becomes of a request: `before` and `after` it is carried out so many seconds pass."""

    what: str = ""
    status: int = 0
    before: float = 0.0
    after: float = 0.0


def deliver(request: Request, reply: Reply, verdict: Verdict) -> None:
    """Answer a request that was carried out, as far as the verdict lets the answer through."""
    if verdict.what == LOSE_ANSWER:
        request.line.cut()
    elif verdict.what != MUTE:
        request.line.send(reply.encode(), max(verdict.after, 0.001))


class Faults:
    """Decides by dice that belong to each fault: taking out one does not change the throws of the others."""

    def __init__(self, faults: Iterable[Fault], seed: int) -> None:
        self._windows = [
            (fault, random.Random(f"{seed} {fault}"))
            for fault in faults
            if fault.seconds and fault.what not in (FREEZE, UNPLUG)
        ]
        self.began = 0.0

    def _now(self) -> float:
        return clock.monotonic() - self.began

    def find(self, what: str, plural: str = "", verb: str = "") -> Fault | None:
        """The fault of that kind that strikes now."""
        now = self._now()
        for fault, dice in self._windows:
            if (
                fault.what == what
                and fault.at <= now < fault.at + fault.seconds
                and (not fault.plural or fault.plural == plural)
                and (not fault.verbs or verb in fault.verbs.split())
                and dice.random() < fault.share
            ):
                return fault
        return None

    def _is_late(self, what: str) -> bool:
        """Whether a fault of that kind is in its last part."""
        now = self._now()
        return any(
            fault.what == what and fault.at + LATE * fault.seconds <= now < fault.at + fault.seconds
            for fault, _ in self._windows
        )

    def judge(self, request: Request, plural: str, prefix: str = "") -> Verdict:
        """What becomes of a request."""
        verb = request.method
        if verb == "GET":
            verb = "WATCH" if request.is_watch else "GET"
        before = after = 0.0
        if slow := self.find(prefix + SLOW, plural, verb):
            before = min(slow.value * 0.7, LONGEST_WAY_SECONDS)
            after = slow.value * 0.3
        if verb == "WATCH" and self.find(BLACKOUT, plural) and not self._is_late(BLACKOUT):
            return Verdict(what=REFUSE, status=503)
        if verb == "GET" and self.find(BLACKOUT, plural):
            return Verdict(what=REFUSE, status=500)
        for what in (HANG, LOSE_REQUEST, REFUSE, MUTE, LOSE_ANSWER):
            if found := self.find(prefix + what, plural, verb):
                return Verdict(what=what, status=found.value, before=before, after=after)
        return Verdict(before=before, after=after)
