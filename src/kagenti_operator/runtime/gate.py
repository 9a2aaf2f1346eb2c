"""A client whose writes are held back, at the last possible moment, unless this replica may write."""

import random
from collections.abc import Callable
from types import SimpleNamespace

import aiohttp

from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.credentials import Connection
from kagenti_operator.kube.errors import KubeError
from kagenti_operator.kube.transport import REQUEST_SECONDS, Observer, Sleeper, Transport

_READS = ("GET", "HEAD")


class NotLeading(KubeError):
    """A write was held back because this replica does not lead, or not for certain."""


class GatedClient(KubeClient):
    """Reads like any client; its writes raise NotLeading unless `may_write()` as they are put on the wire."""

    def __init__(
        self,
        connection: Connection,
        *,
        may_write: Callable[[], bool],
        clock: Sleeper,
        rng: random.Random,
        observer: Observer | None = None,
        max_connections: int = 100,
        request_seconds: float = REQUEST_SECONDS,
    ) -> None:
        super().__init__(connection, clock=clock, rng=rng, observer=observer)
        self._transport = _GatedTransport(
            connection,
            sleeper=clock,
            rng=rng,
            observer=observer,
            max_connections=max_connections,
            request_seconds=request_seconds,
        )
        self._transport.may_write = may_write


class _GatedTransport(Transport):
    may_write: Callable[[], bool]

    def _ensure_session(self) -> aiohttp.ClientSession:
        session = super()._ensure_session()
        if not session.trace_configs:
            # Asked before a request is begun, the gate would be blind while it waits for a connection or for
            # its next try, and a process that was stopped meanwhile would go on to write. At this point the
            # connection is there and nothing has left yet; what follows is done without giving way.
            trace = aiohttp.TraceConfig()
            trace.on_request_headers_sent.append(self._check)
            trace.freeze()
            session.trace_configs.append(trace)
        return session

    async def _check(
        self, _: aiohttp.ClientSession, __: SimpleNamespace, params: aiohttp.TraceRequestHeadersSentParams
    ) -> None:
        if params.method not in _READS and not self.may_write():
            raise NotLeading(f"{params.method} {params.url.path}: held back, this replica does not lead")
