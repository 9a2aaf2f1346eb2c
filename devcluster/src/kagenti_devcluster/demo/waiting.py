"""Waiting for conditions that a person would look at again and again, with a deadline and a reason."""

import asyncio
import time
from collections.abc import Awaitable, Callable

_POLL_SECONDS = 0.5


class NotYet(Exception):
    """The condition does not hold yet; the text says what is there instead."""


class Overdue(Exception):
    """The condition did not hold in time; the text says for what was waited, how long, and what was there."""


async def until[T](
    what: str, probe: Callable[[], Awaitable[T]], *, seconds: float, note: Callable[[str], None]
) -> T:
    """Call the probe until it does not raise NotYet, and return its result.

    `note` is called again and again with what is being waited for. Raises Overdue.
    """
    begun = time.monotonic()
    while True:
        try:
            return await probe()
        except NotYet as reason:
            waited = time.monotonic() - begun
            if waited > seconds:
                raise Overdue(f"{what}: not within {seconds:.0f} s; {reason}") from reason
            note(f"{what} … {waited:.0f} s ({reason})")
        await asyncio.sleep(_POLL_SECONDS)
