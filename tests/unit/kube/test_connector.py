"""Closing a client leaves no connection behind, not even to a server that does not answer."""

import asyncio
import gc
import socket
import ssl
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import aiohttp
import pytest
from trustme import CA

from kagenti_devcluster.cluster.pki import serving_context
from kagenti_operator.kube.auth.connection import Connection
from kagenti_operator.kube.auth.rotation import TlsFiles
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.connector import Connector
from kagenti_operator.kube.transport import build_connector
from kagenti_operator.runtime.election.fencing import fence
from tests.support.peer import running_peer

DEADLINE_SECONDS = 60.0


class Mute:
    """Takes one TLS connection and one request, and says nothing any more, not even that it goes."""

    def __init__(self, folder: Path) -> None:
        authority = CA()
        self._tls = serving_context(authority, "127.0.0.1")
        self.ca = folder / "ca.crt"
        authority.cert_pem.write_to_path(self.ca)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(DEADLINE_SECONDS)
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked = Event()
        self._over = Event()

    @contextmanager
    def serving(self) -> Generator[None]:
        thread = Thread(target=self._serve)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _serve(self) -> None:
        with (
            self._listener,
            self._listener.accept()[0] as plain,
            self._tls.wrap_socket(plain, server_side=True) as connection,
        ):
            connection.recv(1000)
            self.asked.set()
            self._over.wait(DEADLINE_SECONDS)


async def give_up_a_request(server: Mute) -> None:
    tls = TlsFiles(lambda: ssl.create_default_context(cafile=server.ca), [server.ca])
    async with KubeClient(Connection(server.url, tls=tls)) as client:
        request = asyncio.create_task(client.raw("GET", "/x"))
        assert await asyncio.to_thread(server.asked.wait, DEADLINE_SECONDS)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request


def test_a_request_that_was_given_up_leaves_no_connection_when_the_client_is_closed(tmp_path: Path) -> None:
    server = Mute(tmp_path)
    gc.collect()
    with server.serving(), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        asyncio.run(give_up_a_request(server))
        gc.collect()
    assert [str(warning.message) for warning in warned] == []


# How each pool of the operator is made: for the API server, while it leads, and for MLflow.
POOLS: dict[str, Callable[[], Connector]] = {
    "plain": lambda: build_connector(100),
    "fenced": lambda: fence(lambda: True)(100),
    "MLflow": lambda: Connector(keepalive_timeout=4.0),
}


@pytest.mark.parametrize("pool", POOLS)
async def test_every_connection_notices_a_dead_peer_within_45_seconds(pool: str) -> None:
    async with running_peer() as peer, aiohttp.ClientSession(connector=POOLS[pool]()) as session:
        asking = asyncio.create_task(session.get(peer.url))
        (await peer.request()).begin_stream()
        async with await asking as response:
            assert response.connection
            assert response.connection.transport
            opened = response.connection.transport.get_extra_info("socket")
            assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            idle, interval, probes, unacknowledged = (
                opened.getsockopt(socket.IPPROTO_TCP, option)
                for option in (
                    socket.TCP_KEEPIDLE,
                    socket.TCP_KEEPINTVL,
                    socket.TCP_KEEPCNT,
                    socket.TCP_USER_TIMEOUT,
                )
            )
    assert idle + interval * probes == 45
    assert 0 < unacknowledged <= 45_000
