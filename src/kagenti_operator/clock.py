"""The time of day, and the event loop's time for everything that is measured.

Waiting is `asyncio.sleep` and `asyncio.timeout`, which go by the same loop: a test that brings a loop of its
own owns all of it.
"""

import asyncio
from datetime import UTC, datetime


def monotonic() -> float:
    """Return the running event loop's time in seconds since some fixed moment.

    It is never set back, and runs on while the process is stopped. Raises RuntimeError outside of a loop.
    """
    return asyncio.get_running_loop().time()


def now() -> datetime:
    """Return the time of day as an aware datetime in UTC, for what people and the API read."""
    return datetime.now(UTC)
