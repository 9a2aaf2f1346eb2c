"""Probes: when a container counts as started, ready or alive, and how to ask it."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp

from kagenti_devcluster.node.models import Container, HttpGet, Probe
from kagenti_operator.kube.connector import Connector


@dataclass(slots=True)
class ProbeState:
    """Counts answers; the verdict changes after as many equal ones in a row as a threshold says. Pure."""

    probe: Probe
    verdict: bool | None
    _last: bool | None = None
    _row: int = 0

    def observe(self, healthy: bool) -> bool | None:
        """Take note of an answer; returns the verdict: True, False, or None as long as there is none."""
        self._row = self._row + 1 if healthy is self._last else 1
        self._last = healthy
        needed = self.probe.success_threshold if healthy else self.probe.failure_threshold
        if self._row >= needed:
            self.verdict = healthy
        return self.verdict


# Runs a command inside the container; returns its exit code and the end of its output.
type Execute = Callable[[tuple[str, ...]], Awaitable[tuple[int, str]]]


class Prober:
    """Asks containers of one pod; a pod's own network address and exec function come from its node."""

    def __init__(self, address: str, container: Container, execute: Execute):
        self._address = address
        self._container = container
        self._execute = execute

    async def ask(self, probe: Probe) -> str | None:
        """Ask once; returns None when all is well, else what is wrong."""
        try:
            async with asyncio.timeout(probe.timeout_seconds):
                return await self._ask(probe)
        except TimeoutError:
            return f"no answer within {probe.timeout_seconds} s"
        except (OSError, aiohttp.ClientError) as error:
            return str(error) or type(error).__name__

    async def _ask(self, probe: Probe) -> str | None:
        if probe.http_get is not None:
            return await self._get(probe.http_get)
        if probe.tcp_socket is not None:
            host = probe.tcp_socket.host or self._address
            _, writer = await asyncio.open_connection(host, self._port(probe.tcp_socket.port))
            writer.close()
            return None
        if probe.exec is not None:
            code, output = await self._execute(probe.exec.command)
            return None if code == 0 else f"the command exited with {code}: {output.strip()}"
        return "the probe is of a kind that the cluster does not know"

    async def _get(self, action: HttpGet) -> str | None:
        scheme = action.scheme.lower()
        host = action.host or self._address
        url = f"{scheme}://{host}:{self._port(action.port)}/{action.path.lstrip('/')}"
        headers = {header.name: header.value for header in action.http_headers or ()}
        # The kubelet does not verify certificates either.
        async with (
            aiohttp.ClientSession(connector=Connector(ssl=_UNVERIFIED)) as session,
            session.get(url, headers={"User-Agent": "kube-probe/1.0", **headers}) as answer,
        ):
            # Redirects were followed; what is left below 400 is well.
            return None if 200 <= answer.status < 400 else f"HTTP status {answer.status}"

    def _port(self, port: int | str) -> int:
        number = self._container.port_number(port)
        if number is None:
            raise OSError(f"the container has no port named {port!r}")
        return number


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


_UNVERIFIED = _unverified()
