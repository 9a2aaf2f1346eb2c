"""What holds for now: said when it begins, again while it lasts, and over when it ends.

Events, log lines and reminders all follow this one rule, so that a condition that lasts neither floods the
log nor expires unseen.
"""

from collections.abc import Hashable
from dataclasses import dataclass

from kagenti_operator import clock
from kagenti_operator.backoff import Backoff


@dataclass(slots=True)
class Condition:
    """One thing that holds: since when, how often it was observed, how often and when it was last said."""

    digest: int
    since: float
    said_at: float
    said: int = 1
    count: int = 1

    @property
    def seconds(self) -> float:
        """For how long it has held."""
        return clock.monotonic() - self.since


class Standing[K: Hashable]:
    """Conditions by key. Texts are kept as hashes, because there may be as many keys as agents."""

    def __init__(self, reminders: Backoff | None = None, *, most: int | None = None) -> None:
        """`reminders`: after how many seconds a condition is said again; None for never.

        `most`: of how many keys conditions are kept; past that the oldest is forgotten.
        """
        self._reminders = reminders
        self._most = most
        self._conditions: dict[K, Condition] = {}

    def __len__(self) -> int:
        return len(self._conditions)

    def get(self, key: K) -> Condition | None:
        """Return what holds for that key."""
        return self._conditions.get(key)

    def holds(self, key: K, text: str) -> bool:
        """Note that `text` holds for `key`; return whether to say it now: it is new, or due again."""
        now, digest = clock.monotonic(), hash(text)
        known = self._conditions.get(key)
        if known is None:
            self._conditions[key] = Condition(digest, now, now)
            if self._most is not None and len(self._conditions) > self._most:
                del self._conditions[next(iter(self._conditions))]
            return True
        known.count += 1
        if known.digest != digest:
            known.digest, known.said = digest, 0
        elif self._reminders is None or now < known.said_at + self._reminders.step(known.said):
            return False
        known.said += 1
        known.said_at = now
        return True

    def ends(self, key: K) -> Condition | None:
        """Note that nothing holds for `key` any more; return what did."""
        return self._conditions.pop(key, None)
