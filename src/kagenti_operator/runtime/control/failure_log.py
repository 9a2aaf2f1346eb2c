"""What a controller logs of keys that fail: when it begins, now and then while it lasts, and when it ends.

Where thousands fail at once a line for each would fill a disk, and hide what else is said: then one line sums
them up.
"""

from collections.abc import Hashable
from typing import Any

import structlog

from kagenti_operator.backoff import Backoff
from kagenti_operator.runtime.telemetry.standing import Standing
from kagenti_operator.token_bucket import TokenBucket

log = structlog.get_logger(__name__)

# After how many seconds a failure that stays the same is logged again.
_REMINDERS = Backoff(first=10.0, longest=600.0)
_BURST, _PER_SECOND = 100.0, 1.0
_SUMMARIES_PER_SECOND = 0.1


class FailureLog[K: Hashable]:
    """The failures of one controller."""

    def __init__(self, controller: str) -> None:
        self._controller = controller
        self._failures = Standing[K](_REMINDERS)
        self._lines = TokenBucket(_BURST, _PER_SECOND)
        self._summaries = TokenBucket(1.0, _SUMMARIES_PER_SECOND)

    def failed(self, key: K, error: Exception, *, retry_in: float, bug: bool) -> None:
        """Note that the key failed, to be retried in so many seconds; `bug`: always, with its traceback."""
        text = f"{type(error).__name__}: {error}"
        if not self._failures.holds(key, text):
            return
        if not (self._lines.spend() or bug):
            self._sum_up(text)
            return
        failed = self._failures.get(key)
        facts: dict[str, Any] = {
            "controller": self._controller,
            "key": str(key),
            "error": str(error) or type(error).__name__,
            "failures": failed.count if failed else 1,
            "retryIn": f"{retry_in:.3g}s",
        }
        if bug:
            log.error("Reconciling failed, which is a bug of the operator", exc_info=error, **facts)
        else:
            log.warning("Reconciling failed, retrying", **facts)

    def succeeded(self, key: K) -> None:
        """Note that the key did not fail."""
        failed = self._failures.ends(key)
        if failed and self._lines.spend():
            log.info(
                "Reconciled after failing",
                controller=self._controller,
                key=str(key),
                failures=failed.count,
                seconds=round(failed.seconds, 3),
            )

    def forget(self, key: K) -> None:
        """Its failure is over, and something else holds that is said elsewhere."""
        self._failures.ends(key)

    def _sum_up(self, error: str) -> None:
        if self._summaries.spend():
            log.warning(
                "Reconciling fails for many keys, of which not each is logged",
                controller=self._controller,
                keys=len(self._failures),
                error=error,
            )
