"""A client whose writes are held back, at the last possible moment, unless this replica may write."""

from collections.abc import Callable
from functools import partial

import aiohttp
from aiohttp.connector import Connection as AiohttpConnection
from aiohttp.tracing import Trace

from kagenti_operator.kube.connector import Connector
from kagenti_operator.kube.errors import KubeError

_READS = ("GET", "HEAD")
# A write that the network holds up is dropped by our kernel after so many seconds. Left alone, the kernel
# sends it again for minutes, even when its process has ended, and a network that heals delivers it after
# another has become leader. Renew deadline plus this is less than the lease's duration.
UNACKNOWLEDGED_SECONDS = 4.0


class NotLeading(KubeError):
    """A write was held back because this replica does not lead, or not for certain."""


def fence(may_write: Callable[[], bool]) -> Callable[[int], Connector]:
    """What a KubeClient builds its connections with, so that its writes are held back.

    It reads like any client; its writes raise NotLeading unless `may_write()` as they are put on the wire.
    """
    return partial(_build_connector, may_write=may_write)


class _FencedConnector(Connector):
    """Asks when a request gets its connection, after which it is sent without giving way.

    Asked before a request is begun, the gate would be blind while that waits for a connection or for its next
    try, and a process that was stopped meanwhile would go on to write.
    """

    may_write: Callable[[], bool]

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> AiohttpConnection:
        connection = await super().connect(req, traces, timeout)
        if req.method not in _READS and not self.may_write():
            connection.release()
            raise NotLeading(f"{req.method} {req.url.path}: held back, this replica does not lead")
        return connection


def _build_connector(limit: int, *, may_write: Callable[[], bool]) -> Connector:
    connector = _FencedConnector(limit=limit, unacknowledged_seconds=UNACKNOWLEDGED_SECONDS)
    connector.may_write = may_write
    return connector
