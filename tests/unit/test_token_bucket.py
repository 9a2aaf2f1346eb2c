"""How often something may be done."""

import pytest

from kagenti_operator.token_bucket import TokenBucket
from tests.support.virtual_time import advance

pytestmark = pytest.mark.virtual_time


async def test_a_bucket_fills_up_again_but_not_beyond_its_size() -> None:
    bucket = TokenBucket(25, 1 / 300)
    assert [bucket.spend() for _ in range(26)] == [True] * 25 + [False]
    await advance(299)
    assert bucket.spend() is False
    await advance(2)
    assert bucket.spend() is True
    await advance(1e6)
    assert [bucket.spend() for _ in range(26)] == [True] * 25 + [False]
