"""Whose time it is, and whose logging."""

import asyncio
import logging
from collections.abc import Callable, Generator, Mapping

import pytest
import structlog

from kagenti_operator import clock
from tests.support import virtual_time

type LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, LoopFactory]:
    if item.get_closest_marker("virtual_time"):
        return {"virtual": virtual_time.VirtualTimeLoop}
    return {"system": asyncio.new_event_loop}


@pytest.fixture(autouse=True)
def time_of_day_follows_the_loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("virtual_time"):
        monkeypatch.setattr(clock, "now", virtual_time.now)


@pytest.fixture(autouse=True)
def logging_as_before() -> Generator[None]:
    """Commands that are called here set up logging for their whole process, which is the tests' as well."""
    level = logging.root.level
    yield
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    logging.basicConfig(handlers=[], level=level, force=True)
