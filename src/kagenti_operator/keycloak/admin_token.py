"""The administrator's token: asked for by password, kept while it is valid, one login at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import msgspec

from kagenti_operator import clock
from kagenti_operator.keycloak.errors import KeycloakError
from kagenti_operator.keycloak.transport import Request, Transport, decode_answer

_PATH = "/realms/master/protocol/openid-connect/token"
# Another one is asked for so many seconds before the last one ends.
_MARGIN_SECONDS = 15.0
# As Keycloak says where it does not say.
_DEFAULT_SECONDS = 60.0
# Whoever tries a wrong password again and again is locked out, the administrator included.
_REFUSED_SECONDS = 60.0


@dataclass(frozen=True)
class Credentials:
    """The administrator's name and password in realm master."""

    username: str
    password: str = field(repr=False)


# Reads the credentials as they are now. May raise KubeError or KeycloakError.
type ReadCredentials = Callable[[], Awaitable[Credentials]]


class _Token(msgspec.Struct):
    access_token: str
    expires_in: float = _DEFAULT_SECONDS


class AdminToken:
    """Tokens for Keycloak's admin API. The credentials are read anew at every login: people rotate them."""

    def __init__(self, transport: Transport, credentials: ReadCredentials) -> None:
        self._transport = transport
        self._credentials = credentials
        self._lock = asyncio.Lock()
        self._token = ""
        self._valid_until = 0.0
        self._refused: Credentials | None = None
        self._refused_until = 0.0
        self._refusal = ""

    async def get(self) -> str:
        """A token that is valid. Raises KeycloakError, and what reading the credentials raises."""
        async with self._lock:
            if clock.monotonic() >= self._valid_until:
                await self._log_in()
            return self._token

    def reject(self, token: str) -> None:
        """Keycloak refused that token, as after a restart: another one is asked for next time."""
        if token == self._token:
            self._valid_until = 0.0

    async def _log_in(self) -> None:
        credentials = await self._credentials()
        now = clock.monotonic()
        if credentials == self._refused and now < self._refused_until:
            raise KeycloakError(401, self._refusal, retry_after=self._refused_until - now)
        request = Request(
            method="POST",
            path=_PATH,
            doing=f"log in administrator '{credentials.username}'",
            form={
                "grant_type": "password",
                "client_id": "admin-cli",
                "username": credentials.username,
                "password": credentials.password,
            },
        )
        try:
            answer = await self._transport.send(request, 200)
        except KeycloakError as error:
            if error.status in (400, 401):
                self._refused, self._refused_until = credentials, now + _REFUSED_SECONDS
                self._refusal = str(error)
                raise KeycloakError(error.status, str(error), retry_after=_REFUSED_SECONDS) from error
            raise
        token = decode_answer(request, answer.body, _Token)
        self._token, self._refused = token.access_token, None
        self._valid_until = now + max(token.expires_in - _MARGIN_SECONDS, token.expires_in / 2)
