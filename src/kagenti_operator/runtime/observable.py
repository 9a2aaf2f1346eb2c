"""A value that others want to follow: what one controller finds out and another depends on."""

from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)


class Observable[T]:
    """Holds a value; subscribers are called after it became another one."""

    def __init__(self, value: T) -> None:
        self._value = value
        self._subscribers: list[Callable[[], None]] = []

    @property
    def value(self) -> T:
        """What it is now."""
        return self._value

    def set(self, value: T) -> None:
        """Change the value. A subscriber that raises is logged and stops no other."""
        if value == self._value:
            return
        self._value = value
        for subscriber in self._subscribers:
            try:
                subscriber()
            except Exception:
                log.exception("A subscriber failed")

    def subscribe(self, subscriber: Callable[[], None]) -> None:
        """Call `subscriber` after each change from now on."""
        self._subscribers.append(subscriber)
