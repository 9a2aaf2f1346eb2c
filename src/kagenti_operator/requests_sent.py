"""Counts the requests that a piece of work sends to the API server and to MLflow, whoever sends them."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class Sent:
    """How many requests so far."""

    number: int = 0


_sent = ContextVar[Sent | None]("requests sent", default=None)


def count_request() -> None:
    """A request is sent now, each try of it."""
    if sent := _sent.get():
        sent.number += 1


@contextmanager
def counting() -> Generator[Sent]:
    """Count what the block sends, and the tasks that it starts."""
    sent = Sent()
    before = _sent.set(sent)
    try:
        yield sent
    finally:
        _sent.reset(before)
