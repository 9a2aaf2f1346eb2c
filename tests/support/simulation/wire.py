"""Connections in memory: aiohttp's own client on one end, a peer that is a Python object on the other.

Only opening a connection is replaced; pools, time limits, the fence before each write and the parsing of HTTP
are the operator's.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any, Protocol
from unittest.mock import patch
from urllib.parse import parse_qsl, unquote

import aiohttp
import msgspec
from aiohttp.client_proto import ResponseHandler

from tests.support.simulation.loop import PROCESS, WORLD

_HEAD_END = b"\r\n\r\n"
# How long a packet travels, at least.
TRAVEL_SECONDS = 0.001
# How long the operator waits for a connection.
_CONNECT_SECONDS = 10.0


@dataclass(slots=True)
class Request:
    """A request as it arrives. `process`: who sent it, None for nobody of the simulation."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    process: Any
    line: "Line" = field(repr=False)

    @property
    def is_watch(self) -> bool:
        return self.query.get("watch") == "1"


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer."""

    status: int
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def encode(self) -> bytes:
        head = {"Content-Type": "application/json", "Content-Length": str(len(self.body)), **self.headers}
        return _encode_head(self.status, head) + self.body


class Peer(Protocol):
    """Whoever answers at a host."""

    def arrive(self, request: Request) -> None: ...


class Network:
    """Who is where; processes may be cut off."""

    def __init__(self) -> None:
        self.hosts: dict[str, Peer] = {}
        self.lines: set[Line] = set()
        # Processes whose packets get lost, both ways.
        self.unplugged: set[Any] = set()

    def connect(self, host: str, factory: Callable[[], ResponseHandler]) -> "ResponseHandler | None":
        process = PROCESS.get()
        peer = self.hosts.get(host)
        if peer is None or (process is not None and process.dead):
            return None
        protocol = factory()
        line = Line(self, peer, protocol, process)
        self.lines.add(line)
        protocol.connection_made(_ClientEnd(line))
        return protocol

    def plug_in(self, process: Any) -> None:
        """What could not be delivered comes now; the kernel has given up what could not be sent."""
        self.unplugged.discard(process)
        for line in tuple(self.lines):
            if line.process is process:
                line.catch_up()

    def cut(self, process: Any) -> None:
        """Break all connections of a process."""
        for line in tuple(self.lines):
            if line.process is process:
                line.cut()


class Line:
    """One connection."""

    def __init__(self, network: Network, peer: Peer, protocol: ResponseHandler, process: Any) -> None:
        self.process = process
        self.closed = False
        # Set by whoever streams on it, to be called when it closes.
        self.on_close: Callable[[], object] | None = None
        self._network = network
        self._peer = peer
        self._protocol = protocol
        self._context: Context = copy_context()
        self._loop = asyncio.get_running_loop()
        self._received = b""
        # While the process is unplugged.
        self._held: list[bytes] = []
        self._lost = False

    def send(self, data: bytes, delay: float = TRAVEL_SECONDS) -> None:
        """Bytes for the client; those sent later arrive later."""
        self._loop.call_later(delay, self._deliver, data, context=self._context)

    def cut(self) -> None:
        """The connection breaks."""
        if not self.closed:
            self._close()
            self._loop.call_soon(
                self._protocol.connection_lost, ConnectionResetError("cut"), context=self._context
            )

    def _deliver(self, data: bytes) -> None:
        if self.closed:
            return
        if self.process in self._network.unplugged:
            self._held.append(data)
        else:
            self._protocol.data_received(data)

    def catch_up(self) -> None:
        if self._lost:
            self.cut()
            return
        held, self._held = self._held, []
        for data in held:
            self.send(data)

    def write(self, data: bytes) -> None:
        """Bytes from the client."""
        if self.closed:
            return
        self._received += data
        head, end, rest = self._received.partition(_HEAD_END)
        if not end:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return
        self._received = rest[length:]
        if self.process in self._network.unplugged:
            self._lost = True
            return
        method, target, _ = first.split(" ")
        path, _, query = target.partition("?")
        request = Request(
            method,
            unquote(path),
            dict(parse_qsl(query, keep_blank_values=True)) if query else {},
            headers,
            rest[:length],
            self.process,
            self,
        )
        self._loop.call_later(TRAVEL_SECONDS, self._peer.arrive, request, context=WORLD)

    def close_by_client(self) -> None:
        if not self.closed:
            self._close()
            self._loop.call_soon(self._protocol.connection_lost, None)

    def _close(self) -> None:
        self.closed = True
        self._network.lines.discard(self)
        if self.on_close:
            self.on_close()


class _ClientEnd(asyncio.Transport):
    """What aiohttp writes to."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self._line = line

    def write(self, data: Any) -> None:
        self._line.write(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self._line.write(b"".join(list_of_data))

    def close(self) -> None:
        self._line.close_by_client()

    def abort(self) -> None:
        self._line.close_by_client()

    def is_closing(self) -> bool:
        return self._line.closed

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ARG002
        return default

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def _encode_head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Simulated", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def encode_stream_head() -> bytes:
    return _encode_head(200, {"Content-Type": "application/json", "Transfer-Encoding": "chunked"})


def encode_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


END_OF_STREAM = b"0\r\n\r\n"


def to_json(value: object) -> bytes:
    return msgspec.json.encode(value)


def connecting_through(network: Network) -> Any:
    """Have every pool of aiohttp open its connections in that network."""

    async def create(connector: Any, req: Any, _: Any, __: Any) -> ResponseHandler:
        await asyncio.sleep(TRAVEL_SECONDS)
        if PROCESS.get() in network.unplugged:
            await asyncio.sleep(_CONNECT_SECONDS)
            raise aiohttp.ConnectionTimeoutError("no answer")
        protocol = network.connect(req.url.host, connector._factory)
        if protocol is None:
            error = ConnectionRefusedError(111, "Connection refused")
            raise aiohttp.ClientConnectorError(req.connection_key, error)
        return protocol

    return patch.object(aiohttp.TCPConnector, "_create_connection", create)
