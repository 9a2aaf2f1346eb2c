"""The verbs of the Kubernetes API, on typed partial objects."""

import random
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self

import msgspec

from kagenti_operator import bounded_json
from kagenti_operator.contract import KAGENTI
from kagenti_operator.kube.auth.connection import Connection
from kagenti_operator.kube.connector import Connector
from kagenti_operator.kube.errors import ApiError, TooLarge, Unfit
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.resources import Resource
from kagenti_operator.kube.transport import (
    JSON,
    PATIENCE_SECONDS,
    REQUEST_SECONDS,
    Observer,
    Transport,
    build_connector,
)
from kagenti_operator.kube.watch import ListPage, WatchEvent, decode_event, decode_page, object_decoder

APPLY_PATCH = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
PAGE_SIZE = 500
# Of a page that is too large: 62 objects, 7, 1.
_PARTS = 8
# Bookmarks come about once a minute where anything happens, so a watch that is silent for longer may be dead,
# whatever TCP believes. Short enough for load balancers, which forget idle connections after some minutes.
SILENCE_SECONDS = 150.0
_RNG = random.Random()


class KubeClient:
    """Requests to one API server.

    Every method raises ApiError when the server refuses, Unreachable when it gives no complete answer,
    ConfigError without usable credentials, and Unfit when an answer does not fit the resource's model.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        field_manager: str = KAGENTI.manager,
        rng: random.Random = _RNG,
        observer: Observer | None = None,
        max_connections: int = 100,
        request_seconds: float = REQUEST_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
        build_connector: Callable[[int], Connector] = build_connector,
    ) -> None:
        """`patience_seconds`: how long a call may wait because the server asked for it; then it raises.

        `build_connector` makes the pool of connections: what must hold for every request is asked there.
        """
        self.connection = connection
        self._field_manager = field_manager
        self._transport = Transport(
            connection,
            rng=rng,
            observer=observer,
            max_connections=max_connections,
            request_seconds=request_seconds,
            patience_seconds=patience_seconds,
            build_connector=build_connector,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; requests under way fail."""
        await self._transport.close()

    async def get[T: KubeObject](
        self, resource: Resource[T], name: str, namespace: str | None = None
    ) -> T | None:
        """Return the object, None where it or its whole API does not exist."""
        what = _what("get", resource, name, namespace)
        try:
            body = await self._transport.request(
                "GET", resource.path(namespace, name), what=what, accept=_accept(resource)
            )
        except ApiError as error:
            if error.not_found:
                return None
            raise
        return _decode(resource, what, body)

    async def list_page[T: KubeObject](
        self,
        resource: Resource[T],
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = PAGE_SIZE,
        continue_: str = "",
    ) -> ListPage[T]:
        """Return one page; pass its `continue_` to get the next one of the same moment.

        A page that is too large to be read is asked for in parts: fewer objects come then, and `limit` says
        of how many the next page had better be.
        """
        what = _what("list", resource, None, namespace)
        asked = limit
        while True:
            params = {"limit": str(asked), "continue": continue_}
            try:
                body = await self._transport.request(
                    "GET",
                    resource.path(namespace),
                    what=what,
                    params=_select(params, label_selector, field_selector),
                    accept=_accept(resource, "List"),
                )
            except TooLarge:
                if asked == 1:
                    raise
                asked = max(asked // _PARTS, 1)
                continue
            try:
                page = decode_page(resource.model, body)
            except msgspec.DecodeError as error:
                raise _misfit(what, error) from error
            return page if asked == limit else msgspec.structs.replace(page, limit=asked)

    async def watch[T: KubeObject](
        self,
        resource: Resource[T],
        *,
        resource_version: str,
        timeout_seconds: int,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        silence_seconds: float = SILENCE_SECONDS,
        opened: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[WatchEvent[T]]:
        """Yield what happens after `resource_version`; the server ends the watch after `timeout_seconds`.

        `opened` is called once the server has begun to answer. A refusal within the stream comes as the event
        Refused. Raises Silent after `silence_seconds` without a byte. Close the generator when done
        (`aclosing`).
        """
        what = _what("watch", resource, None, namespace)
        params = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_seconds),
        }
        lines = self._transport.stream(
            resource.path(namespace),
            what=what,
            params=_select(params, label_selector, field_selector),
            accept=_accept(resource),
            silence_seconds=silence_seconds,
            opened=opened,
        )
        async with aclosing(lines):
            async for line in lines:
                try:
                    event = decode_event(resource.model, line)
                except msgspec.DecodeError as error:
                    raise _misfit(what, error) from error
                yield event

    async def create[T: KubeObject](self, resource: Resource[T], body: Mapping[str, Any]) -> T:
        """Create the object; namespace from the body. Raises ApiError, `already_exists`."""
        namespace = body["metadata"].get("namespace")
        what = _what("create", resource, body["metadata"].get("name"), namespace)
        return await self._write("POST", resource, resource.path(namespace), what, body, JSON)

    async def apply[T: KubeObject](
        self,
        resource: Resource[T],
        body: Mapping[str, Any],
        *,
        field_manager: str | None = None,
        force: bool = True,
    ) -> T:
        """Server-side apply: make the body's fields so and own them, whoever did; creates what is absent.

        Without `force` it raises `conflict` where another manager has a field otherwise.
        """
        name, namespace = body["metadata"]["name"], body["metadata"].get("namespace")
        return await self._write(
            "PATCH",
            resource,
            resource.path(namespace, name),
            _what("apply", resource, name, namespace),
            body,
            APPLY_PATCH,
            {"force": str(force).lower(), "fieldManager": field_manager or self._field_manager},
        )

    async def merge_patch[T: KubeObject](
        self,
        resource: Resource[T],
        name: str,
        body: Mapping[str, Any],
        namespace: str | None = None,
        *,
        subresource: str | None = None,
    ) -> T:
        """JSON merge patch; with a `metadata.resourceVersion` it raises `conflict` when that is outdated."""
        path = resource.path(namespace, name, subresource)
        what = _what("patch", resource, name, namespace)
        return await self._write("PATCH", resource, path, what, body, MERGE_PATCH)

    async def json_patch[T: KubeObject](
        self, resource: Resource[T], name: str, operations: Sequence[Mapping[str, Any]], namespace: str | None
    ) -> T:
        """Carry out the operations of a JSON patch (RFC 6902), all or none."""
        path = resource.path(namespace, name)
        what = _what("patch", resource, name, namespace)
        return await self._write("PATCH", resource, path, what, operations, JSON_PATCH)

    async def patch_status[T: KubeObject](
        self, resource: Resource[T], name: str, status: Mapping[str, Any], namespace: str | None = None
    ) -> T:
        """Merge into the object's status."""
        return await self.merge_patch(resource, name, {"status": status}, namespace, subresource="status")

    async def delete(
        self,
        resource: Resource[Any],
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
    ) -> bool:
        """Delete the object, if it is still the one with that uid, else raise `conflict`.

        Returns False where it was gone already.
        """
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid} if uid else {},
        }
        what = _what("delete", resource, name, namespace)
        try:
            body = await self._transport.request(
                "DELETE", resource.path(namespace, name), what=what, body=msgspec.json.encode(options)
            )
            # The object, or a Status. Anything else is not the API server's answer.
            bounded_json.decode(body, dict[str, msgspec.Raw])
        except msgspec.DecodeError as error:
            raise _misfit(what, error) from error
        except ApiError as error:
            if error.not_found:
                return False
            raise
        return True

    async def raw(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = JSON,
    ) -> bytes:
        """Send a request that has no typed form (discovery, subresources) and return the answer's body."""
        return await self._transport.request(
            method, path, what=f"{method} {path}", params=params, body=body, content_type=content_type
        )

    async def ask[T](self, method: str, path: str, model: type[T], *, body: Any = None) -> T:
        """Send a request that is about no object, such as a review, and decode its answer."""
        encoded = None if body is None else msgspec.json.encode(body)
        answer = await self.raw(method, path, body=encoded)
        try:
            return bounded_json.decode(answer, model)
        except msgspec.DecodeError as error:
            raise _misfit(f"{method} {path}", error) from error

    async def _write[T: KubeObject](
        self,
        method: str,
        resource: Resource[T],
        path: str,
        what: str,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        content_type: str,
        params: Mapping[str, str] | None = None,
    ) -> T:
        answer = await self._transport.request(
            method,
            path,
            what=what,
            params=params or {"fieldManager": self._field_manager},
            body=msgspec.json.encode(body),
            content_type=content_type,
        )
        return _decode(resource, what, answer)


def _what(verb: str, resource: Resource[Any], name: str | None, namespace: str | None) -> str:
    return f"{verb} {resource.kind} {'/'.join(part for part in (namespace, name or '*') if part)}"


def _select(params: Mapping[str, str], label_selector: str, field_selector: str) -> dict[str, str]:
    selected = {**params, "labelSelector": label_selector, "fieldSelector": field_selector}
    return {name: value for name, value in selected.items() if value}


def _accept(resource: Resource[Any], suffix: str = "") -> str:
    if not resource.metadata_only:
        return JSON
    return f"{JSON};as=PartialObjectMetadata{suffix};g=meta.k8s.io;v=v1,{JSON}"


def _decode[T: KubeObject](resource: Resource[T], what: str, body: bytes) -> T:
    try:
        return object_decoder(resource.model).decode(body)
    except msgspec.DecodeError as error:
        raise _misfit(what, error) from error


def _misfit(what: str, error: msgspec.DecodeError) -> Unfit:
    return Unfit(
        f"{what}: the answer is not what the Kubernetes API sends, or not this version of it: {error}"
    )
