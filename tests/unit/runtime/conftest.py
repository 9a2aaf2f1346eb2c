"""An informer of all widgets, on an API server that the test plays."""

from collections.abc import AsyncIterator

import pytest

from tests.support.fake_apiserver import FakeApiServer, run_fake_apiserver


@pytest.fixture
async def api() -> AsyncIterator[FakeApiServer]:
    async with run_fake_apiserver() as opened:
        yield opened
