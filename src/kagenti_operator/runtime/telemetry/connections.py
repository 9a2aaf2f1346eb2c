"""The connections of a small server: few at a time, each for one request that ends within seconds.

Whoever can reach the port can open connections and say nothing. Each costs memory, with TLS a quarter of a
MiB, and the process has 128. So there is a bound, and past it the peer that holds the most loses its oldest:
a probe or a scrape gets through beside somebody who holds all places. Where requests may come in bursts that
must not be lost, a connection is spared for a moment, and what comes meanwhile waits its turn before TLS.
"""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import override

import structlog

from kagenti_operator import clock
from kagenti_operator.runtime.control.turns import Turns

log = structlog.get_logger(__name__)

AT_ONCE = 32
# From the first byte of a handshake to the last of the answer.
REQUEST_SECONDS = 10.0
# Where the process has no file descriptor left, accepting at once again would only burn the processor.
_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How many connections are served at once, and for how long each.

    `spared_seconds`: a connection is not closed for another one before. `waiting`: how many more may wait for
    a place meanwhile; peers take turns.
    """

    at_once: int = AT_ONCE
    request_seconds: float = REQUEST_SECONDS
    spared_seconds: float = 0.0
    waiting: int = 0


class _Watched(asyncio.Protocol):
    """Hands everything on to the protocol that serves, and notes the end."""

    def __init__(self, inner: asyncio.Protocol) -> None:
        self._inner = inner
        self.over = asyncio.Event()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._inner.connection_made(transport)

    @override
    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    @override
    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    @override
    def pause_writing(self) -> None:
        self._inner.pause_writing()

    @override
    def resume_writing(self) -> None:
        self._inner.resume_writing()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)
        self.over.set()


class Connections:
    """Accepts on listening sockets, and serves what comes within the bounds."""

    def __init__(
        self,
        name: str,
        serve: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext | None,
        limits: Limits,
    ) -> None:
        """`serve` makes the protocol of one connection; `name` is the server's, for the log."""
        self._name = name
        self._serve = serve
        self._tls = tls
        self._limits = limits
        # By task, the oldest first: the address that it serves, and since when.
        self._served: dict[asyncio.Task[None], tuple[str, float]] = {}
        # What waits for a place, by peer.
        self._waiting = Turns[tuple[str, socket.socket]](lambda waiting: waiting[0])
        # Who had to lose a connection, and still has some: each is logged once.
        self._greedy: set[str] = set()
        self._room: asyncio.TimerHandle | None = None

    async def accept(self, listening: socket.socket) -> None:
        """Accept until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(listening)
            except OSError as error:
                log.warning("Cannot accept a connection", server=self._name, error=str(error))
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            self._admit(connection, str(address[0]))

    async def close(self) -> None:
        """End every connection."""
        while self._waiting:
            self._waiting.pop()[1].close()
        if self._room:
            self._room.cancel()
        open_ = tuple(self._served)
        for task in open_:
            task.cancel()
        await asyncio.gather(*open_, return_exceptions=True)

    def _admit(self, connection: socket.socket, peer: str) -> None:
        if len(self._served) >= self._limits.at_once and not self._evict():
            self._wait(connection, peer)
        else:
            self._begin(connection, peer)

    def _begin(self, connection: socket.socket, peer: str) -> None:
        # Begun at once: cancelled before its first step it would never close the connection.
        loop = asyncio.get_running_loop()
        task = asyncio.Task(
            self._handle(connection), loop=loop, name=f"{self._name} connection", eager_start=True
        )
        self._served[task] = (peer, clock.monotonic())
        task.add_done_callback(self._forget)

    def _wait(self, connection: socket.socket, peer: str) -> None:
        self._waiting.add((peer, connection))
        if len(self._waiting) > self._limits.waiting:
            # Of the peer that has the most waiting, so that nobody keeps others from waiting.
            most = max(self._waiting.buckets, key=self._waiting.waiting)
            dropped = self._waiting.pop(self._waiting.buckets - {most})
            log.warning("Too many connections wait, one is closed", server=self._name, peer=dropped[0])
            dropped[1].close()
        self._make_room_later()

    def _make_room_later(self) -> None:
        if self._waiting and self._room is None:
            loop = asyncio.get_running_loop()
            self._room = loop.call_later(self._limits.spared_seconds, self._make_room)

    def _make_room(self) -> None:
        """Whoever has been served for longer than it is spared gives its place to one that waits."""
        self._room = None
        while self._waiting and self._evict():
            self._begin_next()
        self._make_room_later()

    def _begin_next(self) -> None:
        peer, connection = self._waiting.pop()
        self._begin(connection, peer)

    def _evict(self) -> bool:
        """Close the oldest connection of the peer that has the most, unless all of its are spared."""
        greediest, held = Counter(peer for peer, _ in self._served.values()).most_common(1)[0]
        oldest, since = next((task, at) for task, (peer, at) in self._served.items() if peer == greediest)
        if clock.monotonic() - since < self._limits.spared_seconds:
            return False
        if greediest not in self._greedy:
            self._greedy.add(greediest)
            log.warning(
                "Too many connections, the oldest of this peer are closed",
                server=self._name,
                peer=greediest,
                connections=held,
            )
        # Its place is free now, and not when its task has come to its end.
        del self._served[oldest]
        oldest.cancel()
        return True

    def _forget(self, task: asyncio.Task[None]) -> None:
        had_place = self._served.pop(task, None) is not None
        self._greedy &= {peer for peer, _ in self._served.values()}
        if had_place and self._waiting and not task.cancelled():
            self._begin_next()

    async def _handle(self, connection: socket.socket) -> None:
        watched = _Watched(self._serve())
        transport: asyncio.BaseTransport | None = None
        try:
            async with asyncio.timeout(self._limits.request_seconds):
                transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                    lambda: watched, connection, ssl=self._tls
                )
                await watched.over.wait()
        except (OSError, TimeoutError) as error:
            # A port scanner, a client that does not trust the certificate, somebody who says nothing.
            log.debug("A connection came to nothing", server=self._name, error=str(error) or "too slow")
        finally:
            if isinstance(transport, asyncio.Transport):
                transport.abort()


def open_sockets(host: str, port: int) -> list[socket.socket]:
    """Listen on every address of a host, of the whole machine where it is empty, at one port.

    Raises OSError, and UnicodeError where the name cannot be one.
    """
    if not host and socket.has_dualstack_ipv6():
        return [socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)]
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    opened: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys((family, address[0]) for family, *_, address in found):
            opened.append(socket.create_server((str(address), port), family=family))
            # Where any port will do it is the same for each address.
            port = opened[0].getsockname()[1]
    except OSError:
        for listening in opened:
            listening.close()
        raise
    return opened
