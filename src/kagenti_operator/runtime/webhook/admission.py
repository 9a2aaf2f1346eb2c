"""Answers AdmissionReviews of `admission.k8s.io/v1` over HTTP.

What is too large, too slow, or no review is an answer too: the API server refuses the object with it, and
says why to whoever makes it.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from aiohttp import web

from kagenti_operator import bounded_json
from kagenti_operator.kube.objects.models import KubeStruct
from kagenti_operator.runtime.telemetry.connections import Limits

log = structlog.get_logger(__name__)

API_VERSION = "admission.k8s.io/v1"
# A pod has some ten. The API server takes up to three MiB of an object.
MOST_BYTES = 1024 * 1024
# Of all reviews that are decoded: as objects they take twenty times as much.
MOST_BYTES_AT_ONCE = 1024 * 1024
# The API server waits for ten. A connection may wait for a place as well.
DECIDE_SECONDS = 5.0
# An API server sends what many make at once, each request by a connection of its own: those are not lost.
LIMITS = Limits(at_once=48, request_seconds=8.0, spared_seconds=1.0, waiting=1000)
# What it shows of them to whoever makes the object; it cuts what is longer.
_MOST_WARNINGS = 16
_LONGEST_WARNING = 256


class GroupVersionKind(KubeStruct):
    """What an object is."""

    group: str = ""
    version: str = ""
    kind: str = ""


class AdmissionRequest(KubeStruct):
    """What is asked: the object as it would be made."""

    uid: str
    kind: GroupVersionKind = GroupVersionKind()
    operation: str = ""
    namespace: str = ""
    dry_run: bool | None = None
    object: Any = None


class Status(KubeStruct):
    """Why an object is refused; `code` is an HTTP status."""

    code: int
    message: str


class AdmissionResponse(KubeStruct, omit_defaults=True):
    """The answer. `patch`: operations of RFC 6902, encoded."""

    uid: str
    allowed: bool = msgspec.field()
    status: Status | None = None
    patch_type: str | None = None
    patch: bytes | None = None
    warnings: tuple[str, ...] = ()


class _Review(KubeStruct):
    api_version: str
    kind: str
    request: AdmissionRequest


class _Answer(KubeStruct):
    response: AdmissionResponse
    api_version: str = API_VERSION
    kind: str = "AdmissionReview"


_decoder = bounded_json.Decoder(_Review)

type Review = Callable[[AdmissionRequest], Awaitable[AdmissionResponse]]


def allow(
    request: AdmissionRequest,
    *,
    patch: Sequence[Mapping[str, Any]] = (),
    warnings: Sequence[str] = (),
) -> AdmissionResponse:
    """Admit the object, changed by these operations of RFC 6902."""
    return AdmissionResponse(
        uid=request.uid,
        allowed=True,
        patch_type="JSONPatch" if patch else None,
        patch=msgspec.json.encode(patch) if patch else None,
        warnings=tuple(warning[:_LONGEST_WARNING] for warning in warnings[:_MOST_WARNINGS]),
    )


def refuse(request: AdmissionRequest, code: HTTPStatus, message: str) -> AdmissionResponse:
    """Refuse the object; the message is shown to whoever makes it."""
    return AdmissionResponse(uid=request.uid, allowed=False, status=Status(code=code.value, message=message))


def build_admission_app(path: str, review: Review) -> web.Application:
    """The web application that answers reviews at this path; a review that fails refuses the object."""

    turns = _BytesInWork(MOST_BYTES_AT_ONCE)

    async def answer(http: web.Request) -> web.Response:
        if http.headers.get("Content-Encoding"):
            raise web.HTTPUnsupportedMediaType(text="a review is taken as it is, not compressed\n")
        body = await http.read()
        async with turns.taking(len(body)):
            return await _answer(body, review)

    app = web.Application(client_max_size=MOST_BYTES)
    app.router.add_post(path, answer)
    return app


class _BytesInWork:
    """Lets in so many bytes at once, in the order in which they came; a larger one alone."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def taking(self, size: int) -> AsyncGenerator[None]:
        async with self._turn:
            while self._taken and self._taken + size > self._most:
                self._freed.clear()
                await self._freed.wait()
            self._taken += size
        try:
            yield
        finally:
            self._taken -= size
            self._freed.set()


async def _answer(body: bytes, review: Review) -> web.Response:
    try:
        asked = _decoder.decode(body)
    except msgspec.DecodeError as error:
        raise web.HTTPBadRequest(text=f"this is no AdmissionReview: {error}\n") from error
    if (asked.api_version, asked.kind) != (API_VERSION, "AdmissionReview"):
        raise web.HTTPBadRequest(text=f"only AdmissionReviews of {API_VERSION} are answered\n")
    response = await _review(asked.request, review)
    return web.Response(body=msgspec.json.encode(_Answer(response=response)), content_type="application/json")


async def _review(request: AdmissionRequest, review: Review) -> AdmissionResponse:
    try:
        async with asyncio.timeout(DECIDE_SECONDS):
            return await review(request)
    except TimeoutError:
        log.warning("A review took too long", namespace=request.namespace, seconds=DECIDE_SECONDS)
        text = f"the operator did not come to a decision within {DECIDE_SECONDS:.0f} s; try again"
        return refuse(request, HTTPStatus.INTERNAL_SERVER_ERROR, text)
    except Exception:
        log.exception("A review failed", namespace=request.namespace)
        text = "the operator failed at this object, and its log says why"
        return refuse(request, HTTPStatus.INTERNAL_SERVER_ERROR, text)
