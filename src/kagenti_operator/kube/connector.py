"""The pool of connections that requests to API servers, MLflow and pods are sent with."""

import asyncio
import socket
import sys
from asyncio import sslproto
from functools import cached_property, partial
from typing import Any
from weakref import WeakSet

import aiohttp
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

# asyncio gives each TLS connection room for 256 KiB to arrive at once, and fills it with zeros. There are
# forty connections, and others may open as many again.
sslproto.SSLProtocol.max_size = 64 * 1024

# A peer that is gone without a word (a node that lost its power, a firewall that forgot the connection) is
# asked for signs of life after so many seconds of silence, so often, and so many seconds apart. What it does
# not confirm is given up after as long. client-go's pings over HTTP/2 take 45 s as well.
IDLE_SECONDS = 15
PROBES = 3
PROBE_SECONDS = 10
DEAD_SECONDS = IDLE_SECONDS + PROBES * PROBE_SECONDS


def open_socket(address: tuple[Any, ...], *, unacknowledged_seconds: float) -> socket.socket:
    """Open a socket for an address as getaddrinfo words it, on which a dead peer is noticed.

    `unacknowledged_seconds`: what was sent and is not acknowledged for so long breaks the connection.
    """
    family, kind, protocol = address[:3]
    opened = socket.socket(family, kind, protocol)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE_SECONDS)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_SECONDS)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(unacknowledged_seconds * 1000))
    return opened


class Connector(aiohttp.TCPConnector):
    """A pool that notices a dead peer, and leaves no connection behind when it is closed.

    aiohttp forgets connections that it has begun to close: of a request that was cancelled or out of time,
    or idle for too long. A polite end of TLS waits for the server, which may still be at that request: the
    connection would outlive the pool, and the event loop.
    """

    def __init__(self, *, unacknowledged_seconds: float = DEAD_SECONDS, **options: Any) -> None:
        """`unacknowledged_seconds`: see `open_socket`; `options`: of aiohttp's connector."""
        factory = partial(open_socket, unacknowledged_seconds=unacknowledged_seconds)
        super().__init__(socket_factory=factory, **options)  # pyright: ignore[reportUnknownMemberType]

    @cached_property
    def _transports(self) -> WeakSet[asyncio.Transport]:
        return WeakSet()

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """A connection for a request, as aiohttp asks for it."""
        connection = await super().connect(req, traces, timeout)
        if connection.transport is not None:
            self._transports.add(connection.transport)
        return connection

    async def close(self, *, abort_ssl: bool = False) -> None:
        """End all connections at once; requests under way fail."""
        for transport in tuple(self._transports):
            transport.abort()
        await super().close(abort_ssl=abort_ssl)
