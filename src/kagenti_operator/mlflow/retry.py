"""When to try again: how long to wait, and until when."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Protocol


class Clock(Protocol):
    """The part of a clock that is needed here; the runtime's fits."""

    def monotonic(self) -> float:
        """Return seconds since some fixed moment; never set back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
        ...


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Seconds: of the first wait, of the longest, of one try, and of all tries together."""

    first_delay: float = 0.5
    longest_delay: float = 8.0
    try_timeout: float = 15.0
    total: float = 60.0

    def delay(self, failures: int, retry_after: float | None, rng: random.Random) -> float:
        """How long to wait after that many failures in a row; never less than the server asked for."""
        # Far above the longest delay, far below what a float can hold.
        doublings = min(failures - 1, 30)
        backoff = min(self.longest_delay, self.first_delay * 2.0**doublings) * rng.uniform(0.5, 1.0)
        return backoff if retry_after is None else retry_after + backoff / 2


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that `Retry-After` asks for, None where it is absent or says nothing (RFC 9110, 10.2.3).

    A date is measured against the answer's own `Date`, so that nobody's clock needs to be right.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    until, now = _parse_date(value), _parse_date(headers.get("Date", ""))
    return max(0.0, (until - now).total_seconds()) if until and now else None


def _parse_date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    # Without a zone it cannot be compared with the other one.
    return date if date.tzinfo else None
