"""The reflector's desk, for whoever wants none of its options."""

from collections.abc import AsyncIterator

import pytest

from tests.support.fake_apiserver import Desk, opened_desk


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with opened_desk() as opened:
        yield opened
