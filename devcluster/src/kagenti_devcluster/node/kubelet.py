"""The part of the kubelet's own API that `kubectl logs` needs, for the API server only.

What else the API server may ask for is refused with a sentence that kubectl shows.
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog
from aiohttp import web
from trustme import CA

from kagenti_devcluster.cluster.pki import serving_context
from kagenti_devcluster.host.paths import StatePaths
from kagenti_devcluster.node.network import NODE_ADDRESS
from kagenti_devcluster.node.state import State, Terminated, Waiting

log = structlog.get_logger(__name__)

PORT = 10250
_POLL_SECONDS = 0.3
_CHUNK = 256 * 1024
_TAIL_CHUNK = 64 * 1024
_NO_TIMES = "the cluster's logs do not say when a line was written"
# Options that cannot be followed, by their names in the API: as kubectl calls them, and why.
_REFUSED = {
    "sinceSeconds": ("--since", _NO_TIMES),
    "sinceTime": ("--since-time", _NO_TIMES),
    "timestamps": ("--timestamps", _NO_TIMES),
    "previous": ("--previous", "in the cluster one log has all runs of a container"),
}
_BOTH_STREAMS = ("All", None)
_NO_EXEC = (
    "the cluster has logs of pods only, no exec, attach, cp and port-forward: reach a Service with "
    "kubectl get --raw /api/v1/namespaces/NAMESPACE/services/NAME:PORT/proxy/\n"
)

# The state of a container by namespace, pod and name; None where the node has no such container.
type FindState = Callable[[str, str, str], State | None]


def refuse_options(query: Mapping[str, str]) -> str | None:
    """Why a log cannot be shown the way it is asked for, None where it can."""
    for option, (flag, reason) in _REFUSED.items():
        if option in query:
            return f"{reason}: leave out {flag} ({option})"
    if query.get("stream") not in _BOTH_STREAMS:
        return f"in the cluster one log has all output of a container: leave out stream={query['stream']}"
    return None


def explain_missing(pod: str, container: str, state: State | None) -> str:
    """Why a container has no log."""
    name = f'container "{container}" in pod "{pod}"'
    match state:
        case Waiting(reason, message):
            return f"{name} is waiting to start: {_join(reason, message)}"
        case Terminated():
            return f"{name} has not run: {_join(state.reason, state.message)}"
        case _:
            return f"{name} has no log"


def _join(reason: str, message: str) -> str:
    return f"{reason}: {message}" if message else reason


def tail_offset(path: Path, lines: int) -> int:
    """Where the last few lines of a file begin, reading from its end."""
    if lines <= 0:
        return path.stat().st_size
    with path.open("rb") as file:
        position = end = file.seek(0, 2)
        rest = b""
        while position > 0:
            size = min(_TAIL_CHUNK, position)
            position -= size
            file.seek(position)
            rest = file.read(size) + rest
            # One more newline than lines: the one before the first of them.
            if rest.rstrip(b"\n").count(b"\n") >= lines:
                break
        wanted = b"".join(rest.splitlines(keepends=True)[-lines:])
        return end - len(wanted)


class LogServer:
    """Serves containers' logs as the kubelet does, to who shows a certificate of the cluster's authority."""

    def __init__(self, paths: StatePaths, *, exists: Callable[[str, str], bool], find_state: FindState):
        """`exists` says whether the node has a pod of a namespace and name: following ends with it."""
        self._paths = paths
        self._exists = exists
        self._find_state = find_state

    async def run(self, authority: CA) -> None:
        """Serve until cancelled, with a certificate of the authority, and for clients that have one."""
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._serve_log)
        app.router.add_route("*", "/{what:exec|attach|portForward}/{rest:.*}", _refuse)
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        try:
            context = _make_context(authority)
            await web.TCPSite(runner, NODE_ADDRESS, PORT, ssl_context=context, shutdown_timeout=0).start()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    async def _serve_log(self, request: web.Request) -> web.StreamResponse:
        namespace, pod, container = (request.match_info[name] for name in ("namespace", "pod", "container"))
        path = self._paths.container_log(namespace, pod, container)
        if problem := refuse_options(request.query):
            raise web.HTTPBadRequest(text=problem)
        if not path.resolve().is_relative_to(self._paths.logs.resolve()) or not path.exists():
            state = self._find_state(namespace, pod, container)
            raise web.HTTPBadRequest(text=explain_missing(pod, container, state))
        tail, limit = request.query.get("tailLines"), request.query.get("limitBytes")
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        sender = _Sender(
            response,
            path,
            position=tail_offset(path, int(tail)) if tail is not None else 0,
            left=int(limit) if limit is not None else None,
        )
        await response.prepare(request)
        await sender.send()
        while request.query.get("follow") == "true" and self._exists(namespace, pod) and not sender.is_done:
            await asyncio.sleep(_POLL_SECONDS)
            await sender.send()
        return response


async def _refuse(request: web.Request) -> web.Response:
    del request
    return web.Response(status=501, text=_NO_EXEC)


class _Sender:
    """Sends what a log has and what is added to it, up to a limit in bytes."""

    def __init__(self, response: web.StreamResponse, path: Path, *, position: int, left: int | None):
        self._response = response
        self._path = path
        self._position = position
        self._left = left

    @property
    def is_done(self) -> bool:
        """Whether the limit is reached."""
        return self._left == 0

    async def send(self) -> None:
        """Send what was added."""
        while not self.is_done:
            chunk = _read(self._path, self._position)
            if chunk is None:
                # It was too long, and begins anew.
                self._position = 0
                continue
            if not chunk:
                return
            if self._left is not None:
                chunk = chunk[: self._left]
                self._left -= len(chunk)
            await self._response.write(chunk)
            self._position += len(chunk)


def _read(path: Path, position: int) -> bytes | None:
    if path.stat().st_size < position:
        return None
    with path.open("rb") as file:
        file.seek(position)
        return file.read(_CHUNK)


def _make_context(authority: CA) -> ssl.SSLContext:
    context = serving_context(authority, NODE_ADDRESS)
    context.load_verify_locations(cadata=authority.cert_pem.bytes().decode())
    context.verify_mode = ssl.CERT_REQUIRED
    return context
