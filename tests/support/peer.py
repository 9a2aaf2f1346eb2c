"""An API server whose every byte a test writes itself: refusals, cuts and silences that a real one cannot be
made to produce on demand.

A test plays the server: it awaits the next request, and answers it, streams to it, or cuts the line.
"""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

DEADLINE_SECONDS = 60.0


class PeerRequest:
    """A request that waits to be answered."""

    def __init__(
        self,
        line: str,
        headers: Mapping[str, str],
        body: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.method, self.target, _ = line.split(" ")
        parts = urlsplit(self.target)
        self.path = parts.path
        self.query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.headers = headers
        self.body = body
        self.done = asyncio.Event()
        self._reader = reader
        self._writer = writer

    async def answer(
        self, status: int, body: object = None, headers: Mapping[str, str] | None = None
    ) -> None:
        """A complete answer; anything but bytes is sent as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = {"Content-Type": "application/json", "Content-Length": str(len(content)), **(headers or {})}
        self.write(_head(status, head) + content)
        await self._writer.drain()
        self.done.set()

    async def refuse(self, status: int, reason: str = "", **more: Any) -> None:
        """A refusal as the API server words it."""
        await self.answer(status, status_object(status, reason, **more))

    def begin_stream(self) -> None:
        """The head of an answer that is sent piece by piece."""
        self.write(_head(200, {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}))

    def send(self, *events: object) -> None:
        """Watch events, a line each."""
        for event in events:
            self.send_bytes(json.dumps(event).encode() + b"\n")

    def send_bytes(self, piece: bytes) -> None:
        """A piece of the stream, as it is."""
        self.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")

    def end(self) -> None:
        """The stream is complete."""
        self.write(b"0\r\n\r\n")
        self.done.set()

    def cut(self) -> None:
        """The connection breaks."""
        self._writer.transport.abort()
        self.done.set()

    def disconnected(self) -> bool:
        """Whether the client has closed its end."""
        return self._reader.at_eof()

    def write(self, data: bytes) -> None:
        """Bytes on the line."""
        self._writer.write(data)


class Peer:
    """Listens on loopback; requests wait in the order of their arrival."""

    def __init__(self) -> None:
        self.url = ""
        self.connections: set[asyncio.Task[None]] = set()
        self._waiting: asyncio.Queue[PeerRequest] = asyncio.Queue()
        self._arrived = asyncio.Event()

    async def request(self) -> PeerRequest:
        """The next request, which has to come."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self._waiting.get()

    async def arrival(self) -> None:
        """Return when a request waits to be looked at."""
        while self.idle:
            self._arrived.clear()
            await self._arrived.wait()

    @property
    def idle(self) -> bool:
        """Whether no request waits to be looked at."""
        return self._waiting.empty()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, with keep-alive."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers: dict[str, str] = {}
                for name, value in (line.split(": ", 1) for line in head[1:] if line):
                    # A header that comes several times is a list.
                    before = headers.get(name.lower())
                    headers[name.lower()] = value if before is None else f"{before}, {value}"
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                request = PeerRequest(head[0], headers, body, reader, writer)
                self._waiting.put_nowait(request)
                self._arrived.set()
                await request.done.wait()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()


@asynccontextmanager
async def running_peer(tls: ssl.SSLContext | None = None) -> AsyncGenerator[Peer]:
    """A peer on a port of its own; open connections are cut in the end."""
    peer = Peer()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(peer.serve(reader, writer))
        peer.connections.add(task)
        task.add_done_callback(peer.connections.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    peer.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    try:
        yield peer
    finally:
        server.close()
        for task in tuple(peer.connections):
            task.cancel()
        await asyncio.gather(*peer.connections, return_exceptions=True)


async def until(condition: Callable[[], object]) -> None:
    """Wait for what is about to happen, up to a deadline in real time; virtual time stands still."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "what was about to happen did not"
        await asyncio.sleep(0)


def status_object(status: int, reason: str = "", message: str = "no", **details: Any) -> dict[str, Any]:
    """A `meta/v1` Status."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": reason,
        "details": details,
        "code": status,
    }


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()
