"""Requests of the client, against a peer that refuses, breaks and rotates."""

import asyncio
import json
import random
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from trustme import CA

from kagenti_devcluster.cluster.pki import serving_context
from kagenti_operator import clock
from kagenti_operator.kube.auth.connection import Connection
from kagenti_operator.kube.auth.rotation import FileToken, FixedToken, TlsFiles
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.connector import Connector
from kagenti_operator.kube.errors import ApiError, KubeError, Silent, TooLarge, Unreachable
from kagenti_operator.kube.resources import CONFIG_MAPS, CUSTOM_RESOURCE_DEFINITIONS, ROLE_BINDINGS
from kagenti_operator.kube.transport import LARGEST_ANSWER
from kagenti_operator.kube.watch import Added, Bookmark, WatchEvent
from kagenti_operator.runtime.election.lease import Lease, LeaseClient
from tests.support.peer import Peer, PeerRequest, running_peer, until

pytestmark = pytest.mark.virtual_time

CONFIG_MAP = {
    "metadata": {"name": "settings", "namespace": "team1", "resourceVersion": "7"},
    "data": {"a": "b"},
}
BINDING = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "RoleBinding",
    "metadata": {"name": "access", "namespace": "team1"},
    "roleRef": {"kind": "ClusterRole", "name": "view"},
}


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with running_peer() as running:
        yield running


@pytest.fixture
async def client(peer: Peer) -> AsyncIterator[KubeClient]:
    async with KubeClient(Connection(peer.url), rng=random.Random(1)) as connected:
        yield connected


async def play[T](call: Coroutine[Any, Any, T], *answers: Coroutine[Any, Any, PeerRequest]) -> T:
    """Let the client call while the peer answers; return what the client got."""
    task = asyncio.ensure_future(call)
    for answer in answers:
        await answer
    return await task


async def answered(peer: Peer, status: int, body: object = None, **headers: str) -> PeerRequest:
    request = await peer.request()
    await request.answer(status, body, {name.replace("_", "-"): value for name, value in headers.items()})
    return request


async def test_an_object_that_does_not_exist_is_none(client: KubeClient, peer: Peer) -> None:
    assert await play(client.get(CONFIG_MAPS, "settings", "team1"), answered(peer, 404)) is None


async def test_a_list_is_asked_for_by_page_and_selector(client: KubeClient, peer: Peer) -> None:
    page = {"metadata": {"resourceVersion": "9", "continue": "more"}, "items": [CONFIG_MAP]}
    call = asyncio.ensure_future(
        client.list_page(
            CONFIG_MAPS,
            namespace="team1",
            label_selector="a in (b,c),d!=e",
            field_selector="metadata.name=x",
            continue_="x/+",
        )
    )
    request = await answered(peer, 200, page)
    assert [c.data for c in (await call).items] == [{"a": "b"}]
    assert request.path == "/api/v1/namespaces/team1/configmaps"
    assert request.query == {
        "limit": "500",
        "continue": "x/+",
        "labelSelector": "a in (b,c),d!=e",
        "fieldSelector": "metadata.name=x",
    }


async def test_a_page_that_is_too_large_is_asked_for_in_parts(client: KubeClient, peer: Peer) -> None:
    def page(size: int) -> dict[str, Any]:
        large = CONFIG_MAP | {"data": {"a": "x" * size}}
        return {"metadata": {"resourceVersion": "9", "continue": "more"}, "items": [large]}

    call = asyncio.ensure_future(client.list_page(CONFIG_MAPS))
    asked = [await answered(peer, 200, page(size)) for size in (LARGEST_ANSWER, LARGEST_ANSWER, 10)]
    found = await call
    assert [request.query["limit"] for request in asked] == ["500", "62", "7"]
    assert (len(found.items), found.continue_, found.limit) == (1, "more", 7)


async def test_an_answer_that_is_too_large_is_not_read(client: KubeClient, peer: Peer) -> None:
    large = CONFIG_MAP | {"data": {"a": "x" * LARGEST_ANSWER}}
    with pytest.raises(TooLarge, match="get ConfigMap team1/settings: the answer is larger than 12 MiB"):
        await play(client.get(CONFIG_MAPS, "settings", "team1"), answered(peer, 200, large))
    with pytest.raises(ApiError, match="500: the answer is larger than 12 MiB"):
        await play(client.get(CONFIG_MAPS, "settings", "team1"), answered(peer, 500, large))


async def test_apply_owns_its_fields_under_our_name(client: KubeClient, peer: Peer) -> None:
    call = asyncio.ensure_future(client.apply(ROLE_BINDINGS, BINDING))
    request = await answered(peer, 200, BINDING)
    assert (await call).role_ref.name == "view"
    assert request.method == "PATCH"
    assert request.path == "/apis/rbac.authorization.k8s.io/v1/namespaces/team1/rolebindings/access"
    assert request.query == {"force": "true", "fieldManager": "kagenti-operator"}
    assert request.headers["content-type"] == "application/apply-patch+yaml"
    assert json.loads(request.body) == BINDING


async def test_only_metadata_is_asked_for_where_only_metadata_is_read(client: KubeClient, peer: Peer) -> None:
    call = asyncio.ensure_future(client.list_page(CUSTOM_RESOURCE_DEFINITIONS))
    request = await answered(peer, 200, {"metadata": {"resourceVersion": "1"}, "items": []})
    await call
    assert request.headers["accept"].startswith("application/json;as=PartialObjectMetadataList;")


async def test_names_that_are_special_in_urls_arrive_unharmed(client: KubeClient, peer: Peer) -> None:
    call = asyncio.ensure_future(client.get(ROLE_BINDINGS, "system:a b?c#d", "team1"))
    request = await answered(peer, 404)
    await call
    assert request.path.endswith("/rolebindings/system:a%20b%3Fc%23d")
    assert request.query == {}


async def test_delete_says_whether_there_was_something(client: KubeClient, peer: Peer) -> None:
    call = asyncio.ensure_future(client.delete(CONFIG_MAPS, "settings", "team1", uid="u-1"))
    request = await answered(peer, 200, {"kind": "Status"})
    assert await call is True
    assert json.loads(request.body)["preconditions"] == {"uid": "u-1"}
    assert await play(client.delete(CONFIG_MAPS, "settings", "team1"), answered(peer, 404)) is False


@pytest.mark.parametrize("method", ["GET", "PATCH", "POST", "DELETE"])
async def test_a_server_that_sheds_load_is_obeyed_whatever_the_method(
    client: KubeClient, peer: Peer, method: str
) -> None:
    began, shed = clock.monotonic(), answered(peer, 429, None, Retry_After="3")
    assert await play(client.raw(method, "/x"), shed, answered(peer, 200, b"done")) == b"done"
    assert 3 <= clock.monotonic() - began < 3.75


async def test_a_server_error_is_retried_when_it_says_when(client: KubeClient, peer: Peer) -> None:
    began, busy = clock.monotonic(), answered(peer, 503, None, Retry_After="1")
    await play(client.apply(ROLE_BINDINGS, BINDING), busy, answered(peer, 200, BINDING))
    assert 1 <= clock.monotonic() - began < 1.25


async def test_a_server_error_without_a_time_is_the_callers(client: KubeClient, peer: Peer) -> None:
    with pytest.raises(ApiError) as refusal:
        await play(client.get(CONFIG_MAPS, "settings", "team1"), answered(peer, 503))
    assert refusal.value.status == 503


async def test_a_create_that_may_have_been_done_is_not_repeated(client: KubeClient, peer: Peer) -> None:
    began = clock.monotonic()
    with pytest.raises(ApiError) as refusal:
        await play(client.create(ROLE_BINDINGS, BINDING), answered(peer, 503, None, Retry_After="1"))
    assert refusal.value.status == 503
    assert clock.monotonic() == began


async def test_patience_is_bounded_and_the_caller_learns_how_long_to_wait(
    client: KubeClient, peer: Peer
) -> None:
    async def always_busy() -> None:
        while True:
            await answered(peer, 429, None, Retry_After="5")

    began, server = clock.monotonic(), asyncio.ensure_future(always_busy())
    with pytest.raises(ApiError) as refusal:
        await client.get(CONFIG_MAPS, "settings", "team1")
    server.cancel()
    assert refusal.value.retry_after == 5
    assert 5 <= clock.monotonic() - began <= 20


async def test_a_client_without_patience_leaves_waiting_to_the_caller(peer: Peer) -> None:
    async with KubeClient(Connection(peer.url), patience_seconds=0) as client:
        began = clock.monotonic()
        with pytest.raises(ApiError) as refusal:
            await play(client.raw("PATCH", "/x"), answered(peer, 429, None, Retry_After="3"))
        assert clock.monotonic() == began
    assert refusal.value.retry_after == 3


async def test_a_refused_token_is_read_again_and_tried_once(peer: Peer, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old")
    async with KubeClient(Connection(peer.url, token=FileToken(path))) as client:
        call = asyncio.ensure_future(client.raw("GET", "/x"))
        first = await peer.request()
        path.write_text("new")
        await first.refuse(401, "Unauthorized")
        second = await answered(peer, 200, b"welcome")
        assert await call == b"welcome"
    assert [first.headers["authorization"], second.headers["authorization"]] == ["Bearer old", "Bearer new"]


async def test_a_token_that_stays_refused_is_an_error_after_one_more_try(peer: Peer) -> None:
    async with KubeClient(Connection(peer.url, token=FixedToken("bad"))) as client:
        with pytest.raises(ApiError) as refusal:
            await play(client.raw("GET", "/x"), answered(peer, 401), answered(peer, 401))
    assert refusal.value.status == 401


async def test_an_answer_that_breaks_off_is_unreachable(client: KubeClient, peer: Peer) -> None:
    call = asyncio.ensure_future(client.get(CONFIG_MAPS, "settings", "team1"))
    request = await peer.request()
    request.begin_stream()
    request.send_bytes(b'{"metadata"')
    await asyncio.sleep(0)
    request.cut()
    with pytest.raises(Unreachable, match=r"get ConfigMap team1/settings: http://127\.0\.0\.1:\d+ broke"):
        await call


async def test_a_request_without_an_answer_ends(peer: Peer) -> None:
    async with KubeClient(Connection(peer.url), request_seconds=0.05) as client:
        with pytest.raises(Unreachable, match=r"gave no complete answer within 0\.05 s"):
            await client.get(CONFIG_MAPS, "settings", "team1")


async def test_a_server_that_is_not_there_is_reported_with_its_address() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
        async with KubeClient(Connection(address)) as client:
            with pytest.raises(Unreachable, match=f"{address} cannot be reached: Connection refused"):
                await client.get(CONFIG_MAPS, "settings", "team1")


REQUESTS: Mapping[str, Callable[[KubeClient], Awaitable[object]]] = {
    "get": lambda client: client.get(CONFIG_MAPS, "a", "b"),
    "list": lambda client: client.list_page(CONFIG_MAPS),
    "watch": lambda client: anext(client.watch(CONFIG_MAPS, resource_version="1", timeout_seconds=300)),
    "create": lambda client: client.create(CONFIG_MAPS, CONFIG_MAP),
    "apply": lambda client: client.apply(CONFIG_MAPS, CONFIG_MAP),
    "merge patch": lambda client: client.merge_patch(CONFIG_MAPS, "a", {}, "b"),
    "JSON patch": lambda client: client.json_patch(CONFIG_MAPS, "a", [], "b"),
    "delete": lambda client: client.delete(CONFIG_MAPS, "a", "b"),
    "read the lease": lambda client: LeaseClient(client, "a", "b").get(),
    "make the lease": lambda client: LeaseClient(client, "a", "b").create({}),
    "renew the lease": lambda client: LeaseClient(client, "a", "b").replace(Lease({}), {}),
}


@pytest.mark.parametrize("what", REQUESTS)
async def test_an_answer_of_something_else_is_reported(client: KubeClient, peer: Peer, what: str) -> None:
    asking = asyncio.ensure_future(REQUESTS[what](client))
    await answered(peer, 200, b"<html>log in</html>\n")
    with pytest.raises(KubeError, match="not what the Kubernetes API sends"):
        await asking


async def test_nobody_leads_because_somebody_on_the_way_says_yes(client: KubeClient, peer: Peer) -> None:
    with pytest.raises(KubeError, match="the answer is no Lease"):
        await play(LeaseClient(client, "a", "b").create({}), answered(peer, 200, {"status": "ok"}))


async def test_a_request_that_something_within_the_client_cancels_is_a_failure(
    client: KubeClient, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(*_: object, **__: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(Connector, "connect", resolve)
    with pytest.raises(Unreachable, match="GET /x: the request was cancelled on its way"):
        await client.raw("GET", "/x")
    assert peer.idle


async def test_a_request_that_is_cancelled_stays_so(client: KubeClient, peer: Peer) -> None:
    request = asyncio.create_task(client.raw("GET", "/x"))
    await peer.request()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request


async def test_a_redirect_is_not_followed_with_our_token(client: KubeClient, peer: Peer) -> None:
    with pytest.raises(ApiError) as refusal:
        await play(client.raw("GET", "/x"), answered(peer, 302, b"", Location="https://elsewhere.example/"))
    assert refusal.value.status == 302


async def test_every_request_sent_is_observed(peer: Peer) -> None:
    seen: list[tuple[str, str, str]] = []

    def observe(method: str, host: str, code: str) -> None:
        seen.append((method, host, code))

    async with KubeClient(Connection(peer.url), observer=observe) as client:
        await play(client.raw("GET", "/x"), answered(peer, 429), answered(peer, 200, b""))
        call = asyncio.ensure_future(client.raw("POST", "/x"))
        (await peer.request()).cut()
        with pytest.raises(Unreachable):
            await call
    host = peer.url.removeprefix("http://")
    assert seen == [("GET", host, "429"), ("GET", host, "200"), ("POST", host, "<error>")]


async def test_a_server_whose_ca_rotates_is_trusted_again_without_a_restart(tmp_path: Path) -> None:
    old, new = CA(), CA()
    ca = tmp_path / "ca.crt"
    old.cert_pem.write_to_path(ca)
    tls = TlsFiles(lambda: ssl.create_default_context(cafile=ca), [ca])
    async with (
        running_peer(serving_context(new, "127.0.0.1")) as peer,
        KubeClient(Connection(peer.url, tls=tls)) as client,
    ):
        with pytest.raises(Unreachable, match=r"is not trusted: .*; check the CA in the credentials"):
            await client.raw("GET", "/x")
        new.cert_pem.write_to_path(ca)
        assert await play(client.raw("GET", "/x"), answered(peer, 200, b"hello")) == b"hello"


async def collect(client: KubeClient, silence_seconds: float = 5) -> list[WatchEvent[Any]]:
    events = client.watch(
        CONFIG_MAPS, resource_version="4", timeout_seconds=300, silence_seconds=silence_seconds
    )
    async with aclosing(events):
        return [event async for event in events]


async def test_a_watch_yields_events_however_they_are_cut_into_pieces(client: KubeClient, peer: Peer) -> None:
    call = asyncio.ensure_future(collect(client))
    request = await peer.request()
    assert request.query == {
        "watch": "1",
        "allowWatchBookmarks": "true",
        "resourceVersion": "4",
        "timeoutSeconds": "300",
    }
    large = {"type": "ADDED", "object": {**CONFIG_MAP, "data": {"big": "x" * 300_000}}}
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}
    stream = json.dumps(large).encode() + b"\n" + json.dumps(bookmark).encode() + b"\n"
    request.begin_stream()
    for start in range(0, len(stream), 70_001):
        request.send_bytes(stream[start : start + 70_001])
        await asyncio.sleep(0)
    request.end()
    added, marked = await call
    assert isinstance(added, Added)
    assert len(added.object.data["big"]) == 300_000
    assert isinstance(marked, Bookmark)


async def test_a_refused_watch_is_an_api_error(client: KubeClient, peer: Peer) -> None:
    call = asyncio.ensure_future(collect(client))
    await (await peer.request()).refuse(410, "Expired")
    with pytest.raises(ApiError) as refusal:
        await call
    assert refusal.value.gone


async def test_a_silent_watch_is_given_up(client: KubeClient, peer: Peer) -> None:
    call = asyncio.ensure_future(collect(client, silence_seconds=0.05))
    (await peer.request()).begin_stream()
    with pytest.raises(Silent, match=r"watch ConfigMap \*: .* was silent for 0\.05 s"):
        await call


async def test_a_watch_that_ends_within_an_event_is_broken(client: KubeClient, peer: Peer) -> None:
    call = asyncio.ensure_future(collect(client))
    request = await peer.request()
    request.begin_stream()
    request.send_bytes(b'{"type": "ADDED", "obj')
    request.end()
    with pytest.raises(Unreachable, match="in the middle of a line"):
        await call


async def test_a_watch_that_nobody_reads_any_more_is_closed(client: KubeClient, peer: Peer) -> None:
    events = client.watch(CONFIG_MAPS, resource_version="4", timeout_seconds=300)
    first = asyncio.ensure_future(anext(events))
    request = await peer.request()
    request.begin_stream()
    request.send({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}})
    await first
    await events.aclose()
    await until(request.disconnected)
