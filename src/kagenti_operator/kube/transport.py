"""HTTP to one API server: authentication, obeyed Retry-After, and failures as KubeErrors."""

import asyncio
import os
import random
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from kagenti_operator.backoff import jittered
from kagenti_operator.cancellation import is_being_cancelled
from kagenti_operator.kube.auth.connection import Connection
from kagenti_operator.kube.bounded_answer import read_bounded
from kagenti_operator.kube.connector import Connector
from kagenti_operator.kube.errors import (
    ApiError,
    Interrupted,
    Silent,
    TooLarge,
    Unreachable,
    error_from_response,
)
from kagenti_operator.kube.watch import LineSplitter
from kagenti_operator.requests_sent import count_request, excuse_request

JSON = "application/json"
# Called once per request sent: method, host and port, and the status code or "<error>".
type Observer = Callable[[str, str, str], None]

REQUEST_SECONDS = 30.0
_CONNECT_SECONDS = 10.0
# How long one call may wait in all because a server asked for it; beyond that the caller's backoff is better.
PATIENCE_SECONDS = 20.0
_DEFAULT_RETRY_AFTER_SECONDS = 1.0
_JITTER = 0.25
# etcd takes 1.5 MiB of an object, and JSON makes up to six times as much of it: `<` becomes six characters.
# A page of a list that is larger is asked for in parts.
LARGEST_ANSWER = 12 * 2**20
# Compressed lists (from 128 KiB on) save us more in TLS than unpacking costs.
_HEADERS = {"User-Agent": "kagenti-operator", "Accept-Encoding": "gzip"}


def retry_delay(method: str, error: ApiError, rng: random.Random) -> float | None:
    """Return after how many seconds to send a request again, None where it must not be.

    A 429 was not acted upon, whatever the method. A 5xx may have been, so a create is not repeated.
    Up to a quarter is added by chance, so that those who were asked the same do not come back at once.
    """
    if error.too_many_requests:
        wait = error.retry_after or _DEFAULT_RETRY_AFTER_SECONDS
    elif error.status >= 500 and error.retry_after and method != "POST":
        wait = error.retry_after
    else:
        return None
    return jittered(wait, _JITTER, rng)


def build_connector(limit: int) -> Connector:
    """Build a pool of at most so many connections."""
    return Connector(limit=limit)


class Transport:
    """A pool of connections to one API server."""

    def __init__(
        self,
        connection: Connection,
        *,
        rng: random.Random,
        observer: Observer | None,
        max_connections: int,
        request_seconds: float,
        patience_seconds: float,
        build_connector: Callable[[int], Connector],
    ) -> None:
        """`build_connector` makes the pool, for at most so many connections."""
        self._connection = connection
        self._rng = rng
        self._observer = observer
        self._max_connections = max_connections
        self._patience_seconds = patience_seconds
        self._build_connector = build_connector
        self._timeout = aiohttp.ClientTimeout(total=request_seconds, sock_connect=_CONNECT_SECONDS)
        self._host = URL(connection.server).authority
        # The way there, for errors; without the proxy's password.
        through = f" through the proxy {connection.proxy.host_port_subcomponent}" if connection.proxy else ""
        self._server = f"{connection.server}{through}"
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        what: str,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> bytes:
        """Send a request and return the body of its success.

        Raises ApiError for a refusal, after obeying Retry-After within bounds and trying a fresh token once;
        Unreachable without a complete answer in time.
        """
        headers = {"Accept": accept, "Content-Type": content_type} if body is not None else {"Accept": accept}
        waited, fresh_token = 0.0, False
        while True:
            try:
                async with self._open(method, path, what, params, body, headers, self._timeout) as response:
                    return await read_bounded(response, LARGEST_ANSWER)
            except TooLarge as error:
                raise TooLarge(f"{what}: {error}") from None
            except ApiError as error:
                if error.status == 401 and not fresh_token:
                    fresh_token = True
                    continue
                delay = retry_delay(method, error, self._rng)
                if delay is None or waited + delay > self._patience_seconds:
                    raise
            await asyncio.sleep(delay)
            waited += delay

    async def stream(
        self,
        path: str,
        *,
        what: str,
        params: Mapping[str, str],
        accept: str,
        silence_seconds: float,
        opened: Callable[[], None],
    ) -> AsyncGenerator[bytes]:
        """Yield the lines of an endless answer until the server ends it; `opened` is called when it begins.

        Raises ApiError when it is refused, Interrupted when it breaks, Silent when no byte comes for
        `silence_seconds`, and Unreachable when it does not even begin.
        """
        timeout = aiohttp.ClientTimeout(
            # A proxy may accept the connection and then say nothing. Waiting for the pool counts as well.
            connect=_CONNECT_SECONDS if self._connection.proxy else None,
            sock_connect=_CONNECT_SECONDS,
            sock_read=silence_seconds,
        )
        splitter = LineSplitter()
        async with self._open("GET", path, what, params, None, {"Accept": accept}, timeout) as response:
            opened()
            async for chunk in response.content.iter_any():
                for line in splitter.feed(chunk):
                    yield line
                if splitter.pending > LARGEST_ANSWER:
                    raise TooLarge(f"{what}: a line is larger than {LARGEST_ANSWER // 2**20} MiB")
        if splitter.pending:
            raise Interrupted(f"{what}: {self._server} ended in the middle of a line")

    @asynccontextmanager
    async def _open(
        self,
        method: str,
        path: str,
        what: str,
        params: Mapping[str, str] | None,
        body: bytes | None,
        headers: dict[str, str],
        timeout: aiohttp.ClientTimeout,
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        query = f"?{urlencode(params)}" if params else ""
        url = URL(f"{self._connection.server}{quote(path, safe='/:@')}{query}", encoded=True)
        authorization = await self._connection.authorization()
        if authorization:
            headers["Authorization"] = authorization
        # The context goes with the request: after a rotation new connections are made with the new one, and
        # requests under way are not disturbed.
        tls = self._connection.ssl_context() or True
        answered = False
        count_request()
        try:
            async with self._ensure_session().request(
                method,
                url,
                data=body,
                headers=headers,
                timeout=timeout,
                ssl=tls,
                server_hostname=self._connection.server_hostname,
                allow_redirects=False,
            ) as response:
                answered = True
                self._observe(method, str(response.status))
                if response.status == 429 or response.status >= 500:
                    excuse_request()
                if not response.ok or response.status >= 300:
                    if response.status == 401:
                        self._connection.reject_token()
                    raise error_from_response(
                        what, response.status, response.headers, await _read_refusal(response)
                    )
                try:
                    yield response
                finally:
                    _abort_unfinished(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            problem = f"{what}: {self._server} {explain(error, timeout)}"
            if answered:
                kind = Silent if isinstance(error, aiohttp.SocketTimeoutError) else Interrupted
                raise kind(problem) from error
            self._observe(method, "<error>")
            excuse_request()
            raise Unreachable(problem) from error
        except asyncio.CancelledError:
            if is_being_cancelled():
                raise
            # Something inside the client was cancelled, such as a name's resolution that others share.
            raise Interrupted(f"{what}: the request was cancelled on its way") from None

    def _observe(self, method: str, code: str) -> None:
        if self._observer:
            self._observer(method, self._host, code)

    def _ensure_session(self) -> aiohttp.ClientSession:
        # Made at the first request, because a session belongs to a running loop.
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=self._build_connector(self._max_connections),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=[*_HEADERS.items(), *self._connection.impersonation],
                proxy=self._connection.proxy,
            )
        return self._session

    async def close(self) -> None:
        """Close all connections; requests under way fail."""
        if self._session is not None:
            await self._session.close()


async def _read_refusal(response: aiohttp.ClientResponse) -> bytes:
    try:
        return await read_bounded(response, LARGEST_ANSWER)
    except TooLarge as error:
        return str(error).encode()


def _abort_unfinished(response: aiohttp.ClientResponse) -> None:
    """Drop the connection of an answer that was left in the middle.

    A polite end of TLS would wait for the server, which may be gone.
    """
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()


def explain(error: Exception, timeout: aiohttp.ClientTimeout) -> str:
    """Say in words why there was no answer."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return f"is not trusted: {error.certificate_error}; check the CA in the credentials"
        case aiohttp.ClientConnectorError(os_error=ssl.SSLError()):
            # Its number is OpenSSL's own, and no errno.
            return f"does not speak TLS as expected: {error.os_error}; check http or https, and the port"
        case aiohttp.ClientConnectorDNSError():
            return f"cannot be found: {error.strerror or error}; check the host name"
        case aiohttp.ClientConnectorError():
            # asyncio words the address into `strerror`; the bare number says what happened.
            number = error.os_error.errno
            return f"cannot be reached: {os.strerror(number) if number else error.os_error}"
        case aiohttp.ClientHttpProxyError():
            return f"cannot be reached: the proxy answered {error.status} {error.message}"
        case aiohttp.ConnectionTimeoutError():
            return f"cannot be reached: no connection within {_CONNECT_SECONDS:g} s"
        case aiohttp.SocketTimeoutError():
            return f"was silent for {timeout.sock_read:g} s"
        case TimeoutError():
            return f"gave no complete answer within {timeout.total:g} s"
        case _:
            return f"broke the connection off: {error or type(error).__name__}"
