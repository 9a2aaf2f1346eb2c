"""The pool of connections that requests to API servers, MLflow and pods are sent with."""

import asyncio
from functools import cached_property
from weakref import WeakSet

import aiohttp
from aiohttp.connector import Connection
from aiohttp.tracing import Trace


class Connector(aiohttp.TCPConnector):
    """A pool that leaves no connection behind when it is closed.

    aiohttp forgets connections that it has begun to close: of a request that was cancelled or out of time,
    or idle for too long. A polite end of TLS waits for the server, which may still be at that request: the
    connection would outlive the pool, and the event loop.
    """

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
