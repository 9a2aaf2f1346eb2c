"""A list that is given up halfway, and what a watch beside it saw: the next list knows better."""

import pytest

from tests.support.fake_apiserver import FakeApiServer
from tests.support.peer import PeerRequest, until
from tests.support.virtual_time import settle
from tests.support.widget import bookmark, event, page, wire

pytestmark = pytest.mark.virtual_time


async def list_again_and_see_a_deletion(api: FakeApiServer) -> PeerRequest:
    """The last page of a list beside which a watch saw the deletion of object `a`."""
    watch = await api.watching(10, wire("a", 1))
    await api.informer.wait_synced()
    expired = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    watch.send(bookmark(11), event("ERROR", expired))
    watch.end()
    await (await api.list_request()).answer(200, page(99, more="token"))
    requests = [await api.peer.request() for _ in range(2)]
    ahead, last = sorted(requests, key=lambda request: "watch" not in request.query)
    ahead.begin_stream()
    ahead.send(event("DELETED", wire("a", 100)))
    await until(lambda: api.events == ["+a", "-a"])
    return last


@pytest.mark.parametrize("status", [404, 410])
async def test_an_object_that_comes_back_while_the_list_is_given_up_is_not_lost(
    api: FakeApiServer, status: int
) -> None:
    last = await list_again_and_see_a_deletion(api)
    await last.refuse(status)
    await settle()
    api.informer.retry_now()
    await api.listed(120, wire("a", 110, uid="another"))
    await api.watch_request(120)
    assert api.names == ["a"]
