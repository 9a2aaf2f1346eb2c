"""The part of the kubelet's own API that `kubectl logs` needs, for the API server only."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import structlog
from aiohttp import web

from kagenti_operator.sandbox.node.network import NODE_ADDRESS
from kagenti_operator.sandbox.paths import StatePaths
from kagenti_operator.sandbox.pki import CertificateAuthority

log = structlog.get_logger("sandbox.kubelet")

PORT = 10250
_POLL_SECONDS = 0.3
_CHUNK = 256 * 1024
_TAIL_CHUNK = 64 * 1024


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

    def __init__(self, paths: StatePaths, *, exists: Callable[[str, str], bool]):
        """`exists` tells whether the node has a pod of a namespace and name: following ends with it."""
        self._paths = paths
        self._exists = exists

    async def run(self, authority: CertificateAuthority, directory: Path) -> None:
        """Serve until cancelled; the certificate is kept in the directory."""
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._serve_log)
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        try:
            context = _make_context(authority, directory)
            await web.TCPSite(runner, NODE_ADDRESS, PORT, ssl_context=context, shutdown_timeout=0).start()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    async def _serve_log(self, request: web.Request) -> web.StreamResponse:
        namespace, pod, container = (request.match_info[name] for name in ("namespace", "pod", "container"))
        path = self._paths.container_log(namespace, pod, container)
        if not path.resolve().is_relative_to(self._paths.logs.resolve()) or not path.exists():
            raise web.HTTPNotFound(text=f"container {container} of pod {namespace}/{pod} has no log yet\n")
        tail = request.query.get("tailLines")
        position = tail_offset(path, int(tail)) if tail is not None else 0
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        position = await _send(response, path, position)
        while request.query.get("follow") == "true" and self._exists(namespace, pod):
            await asyncio.sleep(_POLL_SECONDS)
            position = await _send(response, path, position)
        return response


async def _send(response: web.StreamResponse, path: Path, position: int) -> int:
    """Send what was added; returns the position behind it."""
    while True:
        chunk = _read(path, position)
        if chunk is None:
            # It was too long, and begins anew.
            position = 0
        elif chunk:
            await response.write(chunk)
            position += len(chunk)
        else:
            return position


def _read(path: Path, position: int) -> bytes | None:
    if path.stat().st_size < position:
        return None
    with path.open("rb") as file:
        file.seek(position)
        return file.read(_CHUNK)


def _make_context(authority: CertificateAuthority, directory: Path) -> ssl.SSLContext:
    certificate, key = directory / "kubelet.crt", directory / "kubelet.key"
    authority.issue_server("kubelet", [NODE_ADDRESS]).write(certificate, key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=authority.certificate.decode())
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    return context
