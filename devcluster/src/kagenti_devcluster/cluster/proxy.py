"""Passes TCP connections on, byte by byte: to the endpoints of a Service, or from the machine to the node.

Half-closed connections stay half-closed, a slow reader slows down its writer, and an open connection stays
with the backend that it began with.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import cast

import structlog

log = structlog.get_logger(__name__)

_CONNECT_SECONDS = 5.0

type Opened = tuple[asyncio.Transport, "End"]
type Dial = Callable[[Callable[[], "End"]], Awaitable[Opened]]


class End(asyncio.Protocol):
    """One end of a passed-on connection; what arrives here leaves at the peer."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.peer: End | None = None
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Nothing is read until there is a peer to write to."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.pause_reading()

    def join(self, peer: "End") -> None:
        """Begin to pass on what comes."""
        self.peer = peer
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        if self.peer and self.peer.transport:
            self.peer.transport.write(data)

    def eof_received(self) -> bool:
        """Pass the end on, and stay open for what the peer still has to say."""
        self._ended = True
        if self.peer and self.peer.transport and not self.peer.transport.is_closing():
            self.peer.transport.write_eof()
        return not (self.peer and self.peer._ended)

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the peer as well, after what is still to be written to it."""
        transport = self.peer.transport if self.peer else None
        if transport is None:
            return
        if exc is None:
            transport.close()
        else:
            transport.abort()

    def pause_writing(self) -> None:
        """The reader at this end is slow."""
        if self.peer and self.peer.transport:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        """The reader has caught up."""
        if self.peer and self.peer.transport and not self.peer.transport.is_closing():
            self.peer.transport.resume_reading()


async def open_tcp(factory: Callable[[], End], host: str, port: int) -> Opened:
    """Connect to an address. Raises OSError or TimeoutError."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(_CONNECT_SECONDS):
        transport, end = await loop.create_connection(factory, host, port)
    return transport, end


async def open_unix(factory: Callable[[], End], directory: int, name: str) -> Opened:
    """Connect to a Unix socket in an open directory: its path may be longer than a socket address."""
    loop = asyncio.get_running_loop()
    transport, end = await loop.create_unix_connection(factory, f"/proc/self/fd/{directory}/{name}")
    return transport, end


class Proxy:
    """Accepts connections on a listening socket and passes each on to where `dial` leads."""

    def __init__(self, name: str, listener: socket.socket, dial: Dial):
        self._name = name
        self._listener = listener
        self._dial = dial
        self._server: asyncio.Server | None = None
        self._opening: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to accept."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, sock=self._listener, backlog=128)

    def close(self) -> None:
        """Accept nothing more; open connections stay."""
        if self._server is not None:
            self._server.close()

    def _accept(self) -> End:
        return _Accepted(self._opened)

    def _opened(self, end: End) -> None:
        task = asyncio.get_running_loop().create_task(self._join(end))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _join(self, end: End) -> None:
        try:
            transport, peer = await self._dial(End)
        except OSError as error:
            # As if nobody listened, as far as somebody who is connected already can see that.
            log.debug("No backend took a connection", proxy=self._name, error=str(error))
            if end.transport:
                end.transport.abort()
            return
        if end.transport is None or end.transport.is_closing():
            transport.abort()
            return
        peer.join(end)
        end.join(peer)


class _Accepted(End):
    def __init__(self, opened: Callable[[End], None]):
        super().__init__()
        self._opened = opened

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._opened(self)


def listen(address: str, port: int) -> socket.socket:
    """A listening socket on one address. Raises OSError."""
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        listener.bind((address, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def listen_on_machine(preferred: int) -> socket.socket:
    """A listening socket on the machine's loopback: on the preferred port where that is free, else on any."""
    try:
        return listen("127.0.0.1", preferred)
    except OSError:
        return listen("127.0.0.1", 0)


class Backends:
    """Where connections to a Service go: the endpoints in turn, the next one where one does not answer."""

    def __init__(self) -> None:
        self._endpoints: Sequence[tuple[str, int]] = ()
        self._turn = 0

    def replace(self, endpoints: Sequence[tuple[str, int]]) -> None:
        """Connections from now on go to these; open ones stay."""
        self._endpoints = tuple(endpoints)

    async def dial(self, factory: Callable[[], End]) -> Opened:
        """Connect to the next endpoint that answers. Raises OSError when none does."""
        endpoints = self._endpoints
        problem: OSError = ConnectionRefusedError("the Service has no ready endpoint")
        for offset in range(len(endpoints)):
            host, port = endpoints[(self._turn + offset) % len(endpoints)]
            try:
                opened = await open_tcp(factory, host, port)
            except OSError as error:
                problem = error
                continue
            self._turn += offset + 1
            return opened
        raise problem


def open_directory(path: Path) -> int:
    """An open directory, for `open_unix`."""
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
