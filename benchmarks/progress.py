"""Prints what is being measured, because some of it takes minutes."""

import time

_BEGAN = time.monotonic()


def say(text: str) -> None:
    minutes, seconds = divmod(int(time.monotonic() - _BEGAN), 60)
    print(f"{minutes:3}:{seconds:02}  {text}", flush=True)
