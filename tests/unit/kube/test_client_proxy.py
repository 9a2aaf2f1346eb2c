"""Requests through a proxy, under another name of the server's certificate, and for somebody else."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import closing
from socket import create_server
from typing import Any
from urllib.parse import urlsplit

import pytest
from trustme import CA
from yarl import URL

from kagenti_devcluster.cluster.pki import serving_context
from kagenti_operator.kube.auth.connection import Connection
from kagenti_operator.kube.auth.rotation import FixedToken, TlsFiles
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.errors import Unreachable
from kagenti_operator.kube.resources import CONFIG_MAPS
from tests.support.connect_proxy import connect_proxy
from tests.support.peer import Peer, running_peer

AUTHORITY = CA()
SERVER = "https://api.example:6443"


# For `api.internal` and this machine, not for the name in SERVER.
SERVING = serving_context(AUTHORITY, "api.internal", "127.0.0.1")


def connection(proxy: str, **more: Any) -> Connection:
    """To SERVER by a proxy, as somebody with a token."""
    tls = TlsFiles(lambda: ssl.create_default_context(cadata=AUTHORITY.cert_pem.bytes().decode()), [])
    options: dict[str, Any] = {"server_hostname": "api.internal", "token": FixedToken("mine"), **more}
    return Connection(SERVER, tls=tls, proxy=URL(proxy), **options)


def port_of(peer: Peer) -> int:
    port = urlsplit(peer.url).port
    assert port is not None
    return port


async def ask(client: KubeClient, peer: Peer) -> bytes:
    """Ask for /x, which the peer answers with the token that it was shown."""
    call = asyncio.ensure_future(client.raw("GET", "/x"))
    request = await peer.request()
    await request.answer(200, request.headers["authorization"].encode())
    return await call


async def test_https_is_tunnelled_and_checked_for_the_name_that_is_wanted() -> None:
    async with (
        running_peer(SERVING) as peer,
        connect_proxy(port_of(peer)) as proxy,
        KubeClient(connection(f"http://{proxy.address}")) as client,
    ):
        assert await ask(client, peer) == b"Bearer mine"
    assert proxy.asked == ["api.example:6443"]
    assert "mine" not in "".join(proxy.heads)


async def test_without_that_name_the_servers_own_is_checked() -> None:
    async with (
        running_peer(SERVING) as peer,
        connect_proxy(port_of(peer)) as proxy,
        KubeClient(connection(f"http://{proxy.address}", server_hostname=None)) as client,
    ):
        with pytest.raises(Unreachable, match=r"is not trusted: .*not valid for 'api\.example'"):
            await client.raw("GET", "/x")


async def test_a_proxy_may_speak_https_itself() -> None:
    async with (
        running_peer(SERVING) as peer,
        connect_proxy(port_of(peer), tls=SERVING) as proxy,
        KubeClient(connection(f"https://{proxy.address}")) as client,
    ):
        assert await ask(client, peer) == b"Bearer mine"


async def test_the_proxys_password_goes_to_the_proxy_alone() -> None:
    async with (
        running_peer(SERVING) as peer,
        connect_proxy(port_of(peer), credentials="me:secret") as proxy,
        KubeClient(connection(f"http://me:secret@{proxy.address}")) as client,
    ):
        assert await ask(client, peer) == b"Bearer mine"


async def test_a_proxy_that_refuses_is_reported_without_its_password() -> None:
    async with (
        connect_proxy(1, credentials="me:secret") as proxy,
        KubeClient(connection(f"http://me:wrong@{proxy.address}")) as client,
    ):
        with pytest.raises(Unreachable) as reported:
            await client.raw("GET", "/x")
    way = f"{SERVER} through the proxy {proxy.address}"
    assert (
        str(reported.value)
        == f"GET /x: {way} cannot be reached: the proxy answered 407 Proxy Authentication Required"
    )


async def test_a_proxy_that_is_not_there_is_reported() -> None:
    with closing(create_server(("127.0.0.1", 0))) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    async with KubeClient(connection(f"http://{address}")) as client:
        with pytest.raises(
            Unreachable, match=f"through the proxy {address} cannot be reached: Connection refused"
        ):
            await client.raw("GET", "/x")


@pytest.fixture
def quick_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kagenti_operator.kube.transport._CONNECT_SECONDS", 0.05)


@pytest.fixture
def mute() -> Iterator[str]:
    """The address of a proxy that takes connections and says nothing."""
    with closing(create_server(("127.0.0.1", 0))) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.usefixtures("quick_connect")
async def test_a_watch_does_not_wait_for_ever_for_a_proxy(mute: str) -> None:
    async with KubeClient(connection(f"http://{mute}")) as client:
        with pytest.raises(Unreachable, match=r"cannot be reached: no connection within 0\.05 s"):
            await anext(client.watch(CONFIG_MAPS, resource_version="1", timeout_seconds=300))


async def test_plain_http_goes_by_a_proxy_as_well() -> None:
    async with (
        running_peer() as proxy,
        KubeClient(Connection("http://api.example:8001", proxy=URL(proxy.url))) as client,
    ):
        call = asyncio.ensure_future(client.raw("GET", "/x"))
        request = await proxy.request()
        await request.answer(200, b"hello")
        assert await call == b"hello"
    assert request.target == "http://api.example:8001/x"


async def test_every_request_says_for_whom_it_is() -> None:
    impersonation = (("Impersonate-User", "jörg"), ("Impersonate-Group", "a"), ("Impersonate-Group", "b c"))
    async with (
        running_peer() as peer,
        KubeClient(Connection(peer.url, impersonation=impersonation)) as client,
    ):
        for method, body in (("GET", None), ("PATCH", b"{}")):
            call = asyncio.ensure_future(client.raw(method, "/x", body=body))
            request = await peer.request()
            await request.answer(200, b"")
            await call
            assert request.headers["impersonate-user"] == "jörg"
            assert request.headers["impersonate-group"] == "a, b c"
