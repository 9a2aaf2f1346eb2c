"""The API server as a person uses it: plain objects, tokens, and requests through its proxy to a Service."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

from kagenti_devcluster.demo.failures import Hop, NoAnswer
from kagenti_operator.kube.client import MERGE_PATCH, KubeClient
from kagenti_operator.kube.errors import ApiError, Unreachable

type Object = dict[str, Any]

# The weather agent asks its model up to six times, and gives it a minute each time.
_PROXY_SECONDS = 400.0
_TOKEN_SECONDS = 3600


@dataclass(frozen=True)
class Answer:
    """An HTTP answer of any status."""

    status: int
    body: bytes

    def json(self) -> Any:
        """The decoded body. Raises msgspec.DecodeError."""
        return msgspec.json.decode(self.body)

    @property
    def text(self) -> str:
        """The body for people, shortened."""
        return self.body[:500].decode(errors="replace").strip()


class Api:
    """Requests with the cluster administrator's credentials; methods raise KubeError."""

    def __init__(self, client: KubeClient, session: aiohttp.ClientSession) -> None:
        self._client = client
        self._session = session

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Object | None:
        """The object or list at a path; None where there is none."""
        try:
            return msgspec.json.decode(await self._client.raw("GET", path, params=params))
        except ApiError as error:
            if error.not_found:
                return None
            raise

    async def list(self, path: str, selector: str = "") -> list[Object]:
        """The objects of a collection."""
        found = await self.get(path, {"labelSelector": selector} if selector else None)
        return found["items"] if found else []

    async def patch(self, path: str, change: Mapping[str, Any]) -> Object:
        """Merge a change into the object at a path."""
        body = msgspec.json.encode(change)
        return msgspec.json.decode(await self._client.raw("PATCH", path, body=body, content_type=MERGE_PATCH))

    async def delete(self, path: str) -> None:
        """Delete the object at a path, if it is there."""
        try:
            await self._client.raw("DELETE", path)
        except ApiError as error:
            if not error.not_found:
                raise

    async def token(self, namespace: str, service_account: str) -> str:
        """A new token of a ServiceAccount, good for an hour."""
        request = {"spec": {"expirationSeconds": _TOKEN_SECONDS}}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        answer = await self._client.raw("POST", path, body=msgspec.json.encode(request))
        return msgspec.json.decode(answer)["status"]["token"]

    async def call_service(
        self,
        namespace: str,
        service: str,
        path: str,
        content: Any,
        headers: Mapping[str, str] | None = None,
        *,
        hop: Hop,
        seconds: float = _PROXY_SECONDS,
    ) -> Answer:
        """POST JSON to a Service, given as `name:port`, through the API server's proxy.

        Answers of the Service and of the proxy alike come back as they are, whatever their status. Raises
        NoAnswer with `hop` when the Service takes longer, Unreachable when the API server does not answer.
        """
        connection = self._client.connection
        request = f"POST {path} of {namespace}/{service}"
        url = f"{connection.server}/api/v1/namespaces/{namespace}/services/{service}/proxy{path}"
        try:
            async with self._session.post(
                url,
                data=msgspec.json.encode(content),
                headers={"Content-Type": "application/json", **(headers or {})},
                ssl=connection.ssl_context() or True,
                timeout=aiohttp.ClientTimeout(total=seconds),
            ) as response:
                return Answer(response.status, await response.read())
        except TimeoutError as error:
            raise NoAnswer(hop, request, error, seconds=seconds, log=service.partition(":")[0]) from error
        except aiohttp.ClientError as error:
            raise Unreachable(f"{request}: {error}") from error
