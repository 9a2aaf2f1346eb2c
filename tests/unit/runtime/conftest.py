"""An informer of all gadgets, on an API server that the test plays."""

from collections.abc import AsyncIterator

import pytest

from tests.support.fake_apiserver import Desk, opened_desk


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with opened_desk() as opened:
        yield opened
