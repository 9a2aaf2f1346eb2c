"""One request to MLflow over HTTP: token, TLS, time limits, and trying again what is worth it."""

import asyncio
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import aiohttp

from kagenti_operator import clock
from kagenti_operator.contract import WORKSPACE_HEADER
from kagenti_operator.http.resolver import ServiceResolver
from kagenti_operator.http.retry import RetryPolicy, parse_retry_after
from kagenti_operator.http.tls import TrustStore
from kagenti_operator.kube.auth.rotation import TokenSource
from kagenti_operator.kube.bounded_answer import read_bounded
from kagenti_operator.kube.connector import Connector
from kagenti_operator.kube.errors import TooLarge
from kagenti_operator.kube.transport import explain
from kagenti_operator.mlflow.errors import MLflowError, MLflowUnreachable, MLflowUntrusted
from kagenti_operator.mlflow.otlp_path import NO_TOKEN
from kagenti_operator.mlflow.responses import Request, build_refusal
from kagenti_operator.requests_sent import count_request, excuse_request

# Called once per try with its status code, or "<error>" where no answer came.
type Observer = Callable[[str], None]

# The server (uvicorn) closes connections that are idle for 5 s: do not use one that is about to go.
_KEEPALIVE_SECONDS = 4.0
# What is asked for is a few hundred bytes; tags of an experiment come along, and tenants can write many.
_LARGEST_ANSWER = 2**20


class Transport:
    """Connections to MLflow servers. `token` is asked for every try, because tokens rotate."""

    def __init__(
        self,
        *,
        token: TokenSource,
        rng: random.Random,
        ca_files: Sequence[Path],
        policy: RetryPolicy,
        observer: Observer | None = None,
    ) -> None:
        self._token = token
        self._rng = rng
        self._trust = TrustStore(ca_files)
        self._policy = policy
        self._observer = observer
        self._session: aiohttp.ClientSession | None = None

    def deadline(self) -> float:
        """The moment of the loop's time until which requests that start now may be tried again."""
        return clock.monotonic() + self._policy.total

    async def send(self, request: Request, deadline: float) -> bytes:
        """The body of a successful answer; raises MLflowError."""
        failures = 0
        while True:
            try:
                body = await self._try_once(request)
            except MLflowError as error:
                self._observe(str(error.status or "<error>"))
                if error.retryable:
                    excuse_request()
                failures += 1
                delay = self._policy.backoff.delay(failures, self._rng, at_least=error.retry_after or 0.0)
                if not error.retryable or clock.monotonic() + delay > deadline:
                    raise
            else:
                self._observe("200")
                return body
            await asyncio.sleep(delay)

    def _observe(self, code: str) -> None:
        if self._observer is not None:
            self._observer(code)

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def ask_for_otlp(self, url: str) -> int:
        """The status code for an empty OTLP message; the operator's token is not sent."""
        timeout = aiohttp.ClientTimeout(total=self._policy.try_timeout)
        headers = {"Authorization": f"Bearer {NO_TOKEN}", "Content-Type": "application/x-protobuf"}
        try:
            async with self._open_session().post(
                url,
                data=b"",
                headers=headers,
                ssl=self._trust.context(),
                allow_redirects=False,
                timeout=timeout,
            ) as response:
                return response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise MLflowUnreachable(f"no answer from {url}: it {explain(error, timeout)}") from error

    async def _try_once(self, request: Request) -> bytes:
        await self._token.prepare()
        count_request()
        timeout = aiohttp.ClientTimeout(total=self._policy.try_timeout)
        try:
            async with self._open_session().request(
                request.method,
                request.url,
                params=request.params,
                json=request.body,
                headers=self._headers(request),
                ssl=self._trust.context(),
                # A login page at the end of a redirect would look like a success.
                allow_redirects=False,
                timeout=timeout,
            ) as response:
                body = await read_bounded(response, _LARGEST_ANSWER)
        except TooLarge as error:
            raise MLflowError(
                200,
                "TOO_LARGE",
                f"MLflow did not {request.doing}: {error}. Whoever may update an experiment can fill it with "
                "tags: remove them",
            ) from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise MLflowUntrusted(self._distrust(request, error.certificate_error)) from error
        except TimeoutError as error:
            limit = f"{self._policy.try_timeout:g} s"
            raise MLflowUnreachable(f"no answer from {request.url} within {limit}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise MLflowUnreachable(
                f"no answer from {request.url}: it {explain(error, timeout)}. Check the address in the "
                "MLflow CR's status, whether MLflow's pod is ready, and whether a NetworkPolicy is in the way"
            ) from error
        if response.status == 401:
            self._token.reject()
        if response.status != 200:
            retry_after = parse_retry_after(response.headers)
            raise build_refusal(request, response.status, response.headers, body, retry_after)
        return body

    def _headers(self, request: Request) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {(self._token.current() or '').strip()}"}
        if request.workspace is not None:
            headers[WORKSPACE_HEADER] = request.workspace
        return headers

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = Connector(keepalive_timeout=_KEEPALIVE_SECONDS, resolver=ServiceResolver())
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self._session

    def _distrust(self, request: Request, reason: Exception) -> str:
        return (
            f"the certificate of {request.url} cannot be verified: {reason}. Believed are "
            f"{self._trust.describe()}. Bring the CA that signed it with flag --mlflow-ca-file"
        )
