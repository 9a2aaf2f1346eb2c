"""One request to Keycloak over HTTP: TLS, time limits, bounds, and trying again what is worth it."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from kagenti_operator import bounded_json, clock
from kagenti_operator.http.resolver import ServiceResolver
from kagenti_operator.http.retry import RetryPolicy, parse_retry_after
from kagenti_operator.http.tls import TrustStore
from kagenti_operator.keycloak.errors import KeycloakError, KeycloakUnreachable
from kagenti_operator.kube.bounded_answer import read_bounded
from kagenti_operator.kube.connector import Connector
from kagenti_operator.kube.errors import TooLarge
from kagenti_operator.kube.transport import explain
from kagenti_operator.plain_text import excerpt
from kagenti_operator.requests_sent import count_request

# Called once per try with its status code, or "<error>" where no answer came.
type Observer = Callable[[str], None]

# A page of a hundred clients is 150 KB; attributes of clients come along, which administrators write.
_LARGEST_ANSWER = 4 * 2**20
_MAX_TEXT = 300


@dataclass(frozen=True, kw_only=True)
class Request:
    """One call; `doing` says it in words. `path` begins with a slash, and is encoded already."""

    method: str
    path: str
    doing: str
    params: Mapping[str, str] | None = None
    body: Mapping[str, Any] | None = None
    form: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Answer:
    """A status that was expected, and the body."""

    status: int
    body: bytes


class _Refusal(msgspec.Struct):
    """The three shapes in which Keycloak says why."""

    error: str = ""
    error_description: str = ""
    error_message: str = msgspec.field(default="", name="errorMessage")


class Transport:
    """Connections to one Keycloak. Redirects are not followed: whoever sends them would get the password."""

    def __init__(
        self,
        url: str,
        *,
        rng: random.Random,
        ca_files: Sequence[Path] = (),
        policy: RetryPolicy,
        observer: Observer | None = None,
    ) -> None:
        """`url` has passed `check_address`."""
        self.url = url
        self._rng = rng
        self._trust = TrustStore(ca_files)
        self._policy = policy
        self._observer = observer
        self._session: aiohttp.ClientSession | None = None

    async def send(self, request: Request, *expected: int, token: str | None = None) -> Answer:
        """Send until it is answered with one of these status codes. Raises KeycloakError.

        What may pass by itself is tried again within the policy's limits.
        """
        deadline = clock.monotonic() + self._policy.total
        failures = 0
        while True:
            try:
                answer = await self._try_once(request, expected, token)
            except KeycloakError as error:
                self._observe(str(error.status or "<error>"))
                failures += 1
                delay = self._policy.backoff.delay(failures, self._rng, at_least=error.retry_after or 0.0)
                if not error.retryable or clock.monotonic() + delay > deadline:
                    raise
            else:
                self._observe(str(answer.status))
                return answer
            await asyncio.sleep(delay)

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _observe(self, code: str) -> None:
        if self._observer is not None:
            self._observer(code)

    async def _try_once(self, request: Request, expected: Sequence[int], token: str | None) -> Answer:
        count_request()
        timeout = aiohttp.ClientTimeout(total=self._policy.try_timeout)
        url = f"{self.url}{request.path}"
        try:
            async with self._open_session().request(
                request.method,
                # As it is: the path of a client's id has an encoded slash.
                URL(url, encoded=True).with_query(request.params),
                json=request.body,
                data=request.form,
                headers={"Authorization": f"Bearer {token}"} if token else None,
                ssl=self._trust.context(),
                allow_redirects=False,
                timeout=timeout,
            ) as response:
                body = await read_bounded(response, _LARGEST_ANSWER)
        except TooLarge as error:
            raise KeycloakError(200, f"Keycloak did not {request.doing}: {error}") from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise KeycloakError(
                None,
                f"the certificate of {self.url} cannot be verified: {error.certificate_error}. Believed are "
                f"{self._trust.describe()}. Bring the CA that signed it with flag --keycloak-ca-file",
            ) from error
        except TimeoutError as error:
            limit = f"{self._policy.try_timeout:g} s"
            raise KeycloakUnreachable(f"no answer from {url} within {limit}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise KeycloakUnreachable(
                f"no answer from {url}: it {explain(error, timeout)}. Check flag --keycloak-url, whether "
                "Keycloak's pod is ready, and whether a NetworkPolicy is in the way"
            ) from error
        if response.status not in expected:
            raise _refusal(request, response.status, response.headers, body)
        return Answer(response.status, body)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = Connector(resolver=ServiceResolver())
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self._session


def decode_answer[T](request: Request, body: bytes, model: type[T]) -> T:
    """Decode what was answered. Raises KeycloakError where Keycloak would not have said that."""
    try:
        return bounded_json.decode(body, model)
    except msgspec.DecodeError as error:
        raise KeycloakError(
            200,
            f"asked to {request.doing}, it answers what Keycloak would not ({error}): check --keycloak-url",
        ) from error


def _refusal(request: Request, status: int, headers: Mapping[str, str], body: bytes) -> KeycloakError:
    try:
        found = bounded_json.decode(body, _Refusal)
        said = found.error_message or found.error_description or found.error
    except msgspec.DecodeError:
        said = ""
    if location := headers.get("Location"):
        said = f"it points to {location.partition('?')[0]}"
    text = excerpt(said or body, _MAX_TEXT) or "no explanation"
    return KeycloakError(
        status,
        f"Keycloak did not {request.doing} ({status}): {text.rstrip('.')}",
        retry_after=parse_retry_after(headers),
    )
