"""A rate with a burst: how often something may be done."""

from dataclasses import dataclass, field

from kagenti_operator import clock


@dataclass(slots=True)
class TokenBucket:
    """Holds up to `burst` tokens, and is refilled by `per_second`; full at first."""

    burst: float
    per_second: float
    _tokens: float = field(init=False, default=-1.0)
    _filled_at: float = field(init=False, default=0.0)

    def spend(self) -> bool:
        """Take a token if there is one."""
        now = clock.monotonic()
        held = self.burst if self._tokens < 0 else self._tokens + (now - self._filled_at) * self.per_second
        self._tokens, self._filled_at = min(self.burst, held), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
