"""Chance that a test decides."""

import random


class Chance(random.Random):
    """Always the same number from [0, 1): 0 is a wait without jitter."""

    def __init__(self, number: float = 0.0) -> None:
        super().__init__()
        self._number = number

    def random(self) -> float:
        return self._number
