"""Egress for pods: an HTTP proxy in the machine's own network, reached through a Unix socket.

Pods of images with `egress: true` get it in HTTP_PROXY and HTTPS_PROXY. If the machine itself needs a proxy,
by the same variables, requests go on to that one. The name host.containers.internal leads to the machine's
loopback.
"""

import asyncio
import base64
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import structlog

log = structlog.get_logger(__name__)

SOCKET = "egress.sock"
PORT = 3128
MACHINE_NAMES = ("host.containers.internal", "host.docker.internal")

_MAX_HEAD = 64 * 1024
_CHUNK = 64 * 1024
_HEAD_SECONDS = 30.0
_CONNECT_SECONDS = 30.0


class BadRequest(Exception):
    """Not a request to a proxy."""


@dataclass(frozen=True, slots=True)
class Request:
    """Where a request wants to go, and its head as the server there expects it."""

    tunnel: bool
    host: str
    port: int
    head: bytes
    forwarded_head: bytes


def _split_address(text: str, default_port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        return parts.hostname or "", parts.port or default_port
    except ValueError as error:
        raise BadRequest(f"{text!r} is no address") from error


def parse_request(head: bytes) -> Request:
    """Read the head of a request to a proxy: `CONNECT host:port` or `GET http://host/path`. Pure.

    Raises BadRequest.
    """
    first, *headers = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    words = first.split(" ")
    if len(words) != 3:
        raise BadRequest("the request line does not have three words")
    method, target, version = words
    if method == "CONNECT":
        host, port = _split_address(target, 443)
        return Request(True, host, port, head, b"")
    url = urlsplit(target)
    if url.scheme != "http" or not url.netloc:
        raise BadRequest(f"a proxy needs the whole address, not {target!r}")
    host, port = _split_address(url.netloc.rpartition("@")[2], 80)
    path = SplitResult("", "", url.path or "/", url.query, "").geturl()
    kept = [h for h in headers if h.split(":")[0].lower() not in {"proxy-connection", "connection"}]
    # One request per connection: the next one may want to go elsewhere.
    lines = [f"{method} {path} {version}", *kept, "Connection: close", "", ""]
    return Request(False, host, port, head, "\r\n".join(lines).encode("latin-1"))


def find_next_proxy(request: Request, proxies: Mapping[str, str]) -> SplitResult | None:
    """The machine's own proxy for a request; None where it reaches the host directly. Pure."""
    if request.host in MACHINE_NAMES or proxy_bypass(request.host, dict(proxies)):
        return None
    address = proxies.get("https" if request.tunnel else "http") or proxies.get("all")
    if not address:
        return None
    return urlsplit(address if "//" in address else f"http://{address}")


def authorize(head: bytes, proxy: SplitResult) -> bytes:
    """Add the credentials that the next proxy's address carries. Pure."""
    if not proxy.username:
        return head
    secret = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
    line = b"Proxy-Authorization: Basic " + base64.b64encode(secret)
    first, rest = head.split(b"\r\n", 1)
    return b"\r\n".join((first, line, rest))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # That one side broke off, the other side sees from its closed connection.
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


class EgressProxy:
    """Serves the proxy on a Unix socket."""

    def __init__(self, environment_proxies: Mapping[str, str] | None = None):
        given = getproxies_environment() if environment_proxies is None else environment_proxies
        self._proxies = dict(given)

    async def serve(self, path: str) -> asyncio.Server:
        """Begin to accept on the socket."""
        return await asyncio.start_unix_server(self._handle, path, limit=_MAX_HEAD)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._pass_on(reader, writer)
        except (BadRequest, asyncio.LimitOverrunError) as error:
            _refuse(writer, "400 Bad Request", error)
        except (OSError, asyncio.IncompleteReadError) as error:
            _refuse(writer, "502 Bad Gateway", error)
        finally:
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_HEAD_SECONDS):
            request = parse_request(await reader.readuntil(b"\r\n\r\n"))
        remote_reader, remote_writer = await self._connect(request, writer)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, remote_writer))
                group.create_task(_copy(remote_reader, writer))
        finally:
            remote_writer.close()

    async def _connect(
        self, request: Request, writer: asyncio.StreamWriter
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        proxy = find_next_proxy(request, self._proxies)
        host = "127.0.0.1" if request.host in MACHINE_NAMES else request.host
        port = request.port
        if proxy is not None:
            host, port = proxy.hostname or "", proxy.port or 80
        async with asyncio.timeout(_CONNECT_SECONDS):
            remote_reader, remote_writer = await asyncio.open_connection(host, port)
        if proxy is not None:
            remote_writer.write(authorize(request.head, proxy))
        elif request.tunnel:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            remote_writer.write(request.forwarded_head)
        return remote_reader, remote_writer


def _refuse(writer: asyncio.StreamWriter, status: str, error: Exception) -> None:
    log.info("A pod's request to the outside failed", status=status, error=str(error))
    body = f"{error or type(error).__name__}\n".encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
    writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)


def egress_variables(proxy_host: str, direct: Sequence[str]) -> dict[str, str]:
    """The variables that make a program use the proxy, except for `direct` hosts and networks. Pure."""
    address, exceptions = f"http://{proxy_host}:{PORT}", ",".join(direct)
    values = {"HTTP_PROXY": address, "HTTPS_PROXY": address, "NO_PROXY": exceptions}
    # Some programs read the one spelling, some the other.
    return {**values, **{name.lower(): value for name, value in values.items()}}
