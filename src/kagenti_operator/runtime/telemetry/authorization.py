"""Who may read what is served: the API server is asked who a bearer token is, and whether they may.

The same TokenReview and SubjectAccessReview as with controller-runtime, so that whoever scrapes operators in
Go scrapes this one with the same ClusterRole (`nonResourceURLs: [/metrics]`, verb `get`).
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from enum import Enum
from typing import Any, Protocol

import msgspec
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from kagenti_operator import clock
from kagenti_operator.kube.errors import KubeError

log = structlog.get_logger(__name__)

TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
# A scraper comes every half minute with the same token. A refusal is forgotten sooner: it is being mended.
_ALLOWED_SECONDS = 60.0
_REFUSED_SECONDS = 10.0
# Strangers may send any number of tokens: neither memory nor the API server may be used up by them.
_REMEMBERED = 256
_REVIEWS_AT_ONCE = 4


class Verdict(Enum):
    """What the API server thinks of a request."""

    ALLOWED = "allowed"
    UNAUTHENTICATED = "the token is nobody's, or has expired"
    REFUSED = "the permission is missing"


class Requester(Protocol):
    """The part of a KubeClient that is needed here; one that is not fenced, for reviews are writes to it."""

    async def ask[T](self, method: str, path: str, model: type[T], *, body: Any = None) -> T:
        """Send a request and decode the answer of its success."""
        ...


class _User(msgspec.Struct, frozen=True):
    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] | None = None
    extra: dict[str, tuple[str, ...]] | None = None


class _TokenStatus(msgspec.Struct, frozen=True):
    authenticated: bool = False
    user: _User | None = None


class _TokenReview(msgspec.Struct, frozen=True):
    status: _TokenStatus = _TokenStatus()


class _AccessStatus(msgspec.Struct, frozen=True):
    allowed: bool = False


class _AccessReview(msgspec.Struct, frozen=True):
    status: _AccessStatus = _AccessStatus()


class TokenAuthorizer:
    """Judges requests, and remembers for a short time how it did. Tokens themselves are not kept."""

    def __init__(self, client: Requester) -> None:
        self._client = client
        self._turns = asyncio.Semaphore(_REVIEWS_AT_ONCE)
        # Oldest first.
        self._remembered: OrderedDict[tuple[bytes, str, str], tuple[Verdict, float]] = OrderedDict()

    async def judge(self, token: str, verb: str, path: str) -> Verdict:
        """Whether the bearer of that token may do this. Raises KubeError when the API server cannot tell."""
        key = (hashlib.sha256(token.encode()).digest(), verb, path)
        known = self._remembered.get(key)
        if known and clock.monotonic() < known[1]:
            return known[0]
        async with self._turns:
            verdict = await self._ask(token, verb, path)
        seconds = _ALLOWED_SECONDS if verdict is Verdict.ALLOWED else _REFUSED_SECONDS
        self._remembered[key] = (verdict, clock.monotonic() + seconds)
        self._remembered.move_to_end(key)
        while len(self._remembered) > _REMEMBERED:
            self._remembered.popitem(last=False)
        return verdict

    async def _ask(self, token: str, verb: str, path: str) -> Verdict:
        review = await self._review(TOKEN_REVIEWS, _TokenReview, {"token": token})
        user = review.status.user
        if not review.status.authenticated or user is None:
            return Verdict.UNAUTHENTICATED
        spec = {
            "user": user.username,
            "uid": user.uid,
            "groups": user.groups or (),
            "extra": user.extra or {},
            "nonResourceAttributes": {"path": path, "verb": verb},
        }
        access = await self._review(ACCESS_REVIEWS, _AccessReview, spec)
        return Verdict.ALLOWED if access.status.allowed else Verdict.REFUSED

    async def _review[T](self, path: str, kind: type[T], spec: Mapping[str, Any]) -> T:
        return await self._client.ask("POST", path, kind, body={"spec": spec})


def bearer_token(header: str) -> str | None:
    """The token of an Authorization header, None where it has none (RFC 6750, 2.1)."""
    scheme, _, token = header.strip().partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def require_access(authorizer: TokenAuthorizer) -> Middleware:
    """An aiohttp middleware that lets nobody through whom the API server does not."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        token = bearer_token(request.headers.get("Authorization", ""))
        if token is None:
            return _unauthenticated("send a token of the cluster: Authorization: Bearer TOKEN")
        verb = request.method.lower()
        try:
            verdict = await authorizer.judge(token, verb, request.path)
        except KubeError as error:
            log.warning("Cannot ask the API server who may read", path=request.path, error=str(error))
            return web.Response(status=500, text="the API server could not be asked who you are\n")
        match verdict:
            case Verdict.ALLOWED:
                return await handler(request)
            case Verdict.UNAUTHENTICATED:
                return _unauthenticated(verdict.value)
            case Verdict.REFUSED:
                cure = f"{verdict.value}: `{verb}` on nonResourceURL {request.path}\n"
                return web.Response(status=403, text=cure)

    return check


def _unauthenticated(reason: str) -> web.Response:
    return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"}, text=f"{reason}\n")
