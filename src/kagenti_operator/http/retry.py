"""When to try again: how long to wait, and until when."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime

from kagenti_operator.backoff import Backoff

# The "equal jitter" of AWS's architecture blog, up to eight seconds: a server that starts anew is asked often
# at first, and a fleet of agents does not ask all at once.
_BACKOFF = Backoff(first=0.25, longest=4.0, jitter=1.0)


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How long to wait between tries, and the seconds of one try and of all tries together."""

    backoff: Backoff = _BACKOFF
    try_timeout: float = 15.0
    total: float = 60.0


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
