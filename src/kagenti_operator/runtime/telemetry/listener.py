"""Serving HTTP at an address given as in Go: `host:port`, `:port`, `[::]:port`, or `0` for nowhere."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from aiohttp import web

from kagenti_operator.runtime.telemetry.connections import Connections, Limits, open_sockets

log = structlog.get_logger(__name__)

# A scrape or a probe that is under way when the process ends may finish for that long, in seconds.
_SHUTDOWN_SECONDS = 0.1
_LIMITS = Limits()


class BadAddressError(ValueError):
    """The text is no address to listen on."""


class CannotListenError(OSError):
    """The address cannot be listened on: in use, not this machine's, or reserved."""


@dataclass(frozen=True)
class BindAddress:
    """Where to listen; an empty host means every address of the machine, IPv4 and IPv6."""

    host: str
    port: int

    def __str__(self) -> str:
        """Write it as it is parsed."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_bind_address(text: str) -> BindAddress | None:
    """Read an address; None for `0`, which switches a listener off. Raises BadAddressError."""
    if text == "0":
        return None
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not port.isdecimal() or int(port) > 65535 or (":" in host and not bracketed):
        raise BadAddressError(
            f'"{text}" is no address to listen on: write host:port, :port or [IPv6]:port, or 0 for none'
        )
    return BindAddress(host.strip("[]"), int(port))


class Listener:
    """Serves one web application until it is cancelled; over HTTPS where `tls` brings a context."""

    def __init__(
        self,
        name: str,
        app: web.Application,
        address: BindAddress,
        *,
        tls: Callable[[], Awaitable[ssl.SSLContext]] | None = None,
        limits: Limits = _LIMITS,
    ) -> None:
        self.name = name
        self.ready = asyncio.Event()
        # The port that was really taken, once ready: another than asked for only where 0 was.
        self.port = address.port
        self._app = app
        self._address = address
        self._tls = tls
        self._limits = limits

    async def run(self) -> None:
        """Serve. Raises CannotListenError, and whatever `tls` raises."""
        context = await self._tls() if self._tls else None
        runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
        self._app.on_response_prepare.append(_close_after)
        await runner.setup()
        if runner.server is None:
            raise CannotListenError(f"the {self.name} cannot be served")
        connections = Connections(self.name, runner.server, context, self._limits)
        sockets: list[socket.socket] = []
        try:
            sockets = self._listen()
            self.port = sockets[0].getsockname()[1]
            self.ready.set()
            log.info("Listening", server=self.name, address=str(BindAddress(self._address.host, self.port)))
            await asyncio.gather(*(connections.accept(listening) for listening in sockets))
        finally:
            for listening in sockets:
                listening.close()
            await runner.cleanup()
            await connections.close()

    def _listen(self) -> list[socket.socket]:
        try:
            sockets = open_sockets(self._address.host, self._address.port)
        except (OSError, UnicodeError) as error:
            # The second is a host's name that cannot be one.
            problem = error.strerror if isinstance(error, OSError) and error.strerror else error
            reason = f"{self._address} cannot be listened on for the {self.name}: {problem}"
            raise CannotListenError(f"{reason}. Choose another address, or 0 for none") from error
        for listening in sockets:
            listening.setblocking(False)
        return sockets


async def _close_after(_: web.Request, response: web.StreamResponse) -> None:
    """A connection is for one request, so that none is idle."""
    response.force_close()
    # The other headers stand already.
    response.headers["Connection"] = "close"
