"""One HTTP request a connection: its head is read and rewritten, the rest is passed on as it is."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

_MOST = 64 * 1024
_HEAD_SECONDS = 30.0
_REASONS = {200: "OK", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 502: "Bad Gateway"}


@dataclass(frozen=True)
class Head:
    """A request's first line and headers, in their order."""

    method: str
    target: str
    version: str
    headers: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str:
        """The value of a header, empty where it is not there."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    @property
    def bearer(self) -> str:
        """The bearer token, empty without one."""
        scheme, _, token = self.get("authorization").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    def with_header(self, name: str, value: str) -> "Head":
        """The same with that header in place of any other of its name."""
        kept = tuple(pair for pair in self.headers if pair[0].lower() != name.lower())
        return replace(self, headers=(*kept, (name, value)))

    def encode(self) -> bytes:
        """As it goes on: one request a connection."""
        kept = [(k, v) for k, v in self.headers if k.lower() not in ("connection", "proxy-connection")]
        upgrade = self.get("upgrade") and "upgrade" in self.get("connection").lower()
        lines = [f"{self.method} {self.target} {self.version}", *(f"{k}: {v}" for k, v in kept)]
        lines.append(f"Connection: {'Upgrade' if upgrade else 'close'}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@dataclass(frozen=True)
class Reply:
    """An answer of the sidecar's own."""

    status: int
    body: str
    content_type: str = "text/plain"

    def encode(self) -> bytes:
        """As it is sent."""
        body = self.body.encode()
        lines = [
            f"HTTP/1.1 {self.status} {_REASONS.get(self.status, 'Unavailable')}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(body)}",
            *(["WWW-Authenticate: Bearer"] if self.status == 401 else []),
            "Connection: close",
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


@dataclass(frozen=True)
class Forward:
    """Where a request goes on; without a head the connection is passed on as a tunnel."""

    host: str
    port: int
    head: Head | None


# What becomes of a request.
type Handle = Callable[[Head], Awaitable[Reply | Forward]]


async def listen(name: str, address: str, handle: Handle) -> asyncio.Server:
    """Serve on `host:port` or `:port`, which is every interface. Raises OSError that says who cannot."""
    host, _, port = address.rpartition(":")

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            await _serve(reader, writer, handle)
        writer.close()

    try:
        return await asyncio.start_server(accept, host or "0.0.0.0", int(port), limit=_MOST)
    except OSError as error:
        raise OSError(f'{name} listen on "{address}": address already in use') from error


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handle) -> None:
    async with asyncio.timeout(_HEAD_SECONDS):
        head = _parse(await reader.readuntil(b"\r\n\r\n"))
    found = await handle(head)
    if isinstance(found, Reply):
        writer.write(found.encode())
        await writer.drain()
        return
    try:
        far_reader, far_writer = await asyncio.open_connection(found.host, found.port)
    except OSError as error:
        writer.write(Reply(502, f"{found.host}:{found.port}: {error}").encode())
        await writer.drain()
        return
    if found.head is None:
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    else:
        far_writer.write(found.head.encode())
    try:
        await _join(reader, writer, far_reader, far_writer)
    finally:
        far_writer.close()


def _parse(head: bytes) -> Head:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, version = first.split(" ")
    pairs = (line.partition(":") for line in lines if line)
    return Head(method, target, version, tuple((key, value.strip()) for key, _, value in pairs))


async def _join(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    far_reader: asyncio.StreamReader,
    far_writer: asyncio.StreamWriter,
) -> None:
    """Pass on in both ways until the far side has answered."""
    sending = asyncio.create_task(_copy(reader, far_writer))
    try:
        await _copy(far_reader, writer)
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_MOST):
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
