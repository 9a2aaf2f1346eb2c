"""How long to wait before the next try: twice as long after each failure, and spread by chance."""

import random
from dataclasses import dataclass

# Far above any longest wait, far below what a float can hold.
_MAX_DOUBLINGS = 64
# A server may ask for any time; nobody would know why nothing happens until tomorrow.
LONGEST_ASKED_SECONDS = 600.0


def jittered(seconds: float, jitter: float, rng: random.Random) -> float:
    """Return those seconds, or up to `jitter` times as many more: client-go's `wait.Jitter`.

    Many that fail at the same moment do not try again at the same moment then.
    """
    return seconds * (1 + jitter * rng.random())


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """A policy: seconds of the first and of the longest wait, and which part of a wait is added by chance.

    Modelled on client-go's `wait.Backoff` with factor 2. As there, jitter is added to the wait, and to the
    longest one too: no wait is shorter than the policy says.
    """

    first: float
    longest: float
    jitter: float = 0.0

    def step(self, failures: int) -> float:
        """Return the seconds to wait after so many failures in a row, at least one, without jitter."""
        return min(self.first * 2.0 ** min(max(failures - 1, 0), _MAX_DOUBLINGS), self.longest)

    def delay(self, failures: int, rng: random.Random, *, at_least: float = 0.0) -> float:
        """Return the seconds to wait after so many failures in a row, at least one.

        `at_least` is what the server asked for, such as by Retry-After, and is obeyed up to ten minutes: the
        jitter comes on top of it.
        """
        step = self.step(failures)
        return max(step, min(at_least, LONGEST_ASKED_SECONDS)) + step * self.jitter * rng.random()
