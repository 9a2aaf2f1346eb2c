"""What is remembered for a while of very many keys, without looking at each of them to forget it."""

from kagenti_operator import clock


class Generations[V]:
    """Values by the hash of their key, in two dicts of which the older goes.

    They are kept for some seconds, and at most twice as long; sooner where there are too many.
    """

    def __init__(self, *, seconds: float, most: int) -> None:
        """`most`: how many keys a generation has."""
        self._seconds = seconds
        self._most = most
        self._since = 0.0
        self.young: dict[int, V] = {}
        self.old: dict[int, V] = {}

    def __len__(self) -> int:
        return len(self.young) + len(self.old)

    def age(self) -> bool:
        """Drop what is old enough; return whether a generation has passed."""
        now = clock.monotonic()
        if now < self._since + self._seconds and len(self.young) < self._most:
            return False
        self.old = self.young if now < self._since + 2 * self._seconds else {}
        self.young, self._since = {}, now
        return True
