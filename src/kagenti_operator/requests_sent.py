"""Counts the requests that a piece of work sends to the API server and to MLflow, whoever sends them."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class Sent:
    """How many requests so far, and whether one of them took a right or an environment away."""

    number: int = 0
    took: bool = False


_sent = ContextVar[Sent | None]("requests sent", default=None)


def count_request() -> None:
    """A request is sent now, each try of it."""
    if sent := _sent.get():
        sent.number += 1


def excuse_request() -> None:
    """The last one failed by the server's own fault, and does not count."""
    if sent := _sent.get():
        sent.number -= 1


def note_taken() -> None:
    """Something was taken away."""
    if sent := _sent.get():
        sent.took = True


@contextmanager
def counting() -> Generator[Sent]:
    """Count what the block sends, and the tasks that it starts; whoever counts around it does not."""
    sent = Sent()
    before = _sent.set(sent)
    try:
        yield sent
    finally:
        _sent.reset(before)
