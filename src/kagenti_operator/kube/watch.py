"""The wire format of lists and watches, decoded in one pass into partial typed objects."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec

from kagenti_operator.bounded_json import Decoder
from kagenti_operator.kube.errors import Status
from kagenti_operator.kube.objects.models import KubeObject, KubeStruct


class Added[T: KubeObject](msgspec.Struct, frozen=True, tag="ADDED"):
    """An object that is new, or newly matches the selector."""

    object: T


class Modified[T: KubeObject](msgspec.Struct, frozen=True, tag="MODIFIED"):
    """An object that changed."""

    object: T


class Deleted[T: KubeObject](msgspec.Struct, frozen=True, tag="DELETED"):
    """An object that is gone, or no longer matches the selector, in its last state."""

    object: T


class BookmarkMeta(KubeStruct):
    """All that a bookmark carries."""

    resource_version: str


class BookmarkObject(KubeStruct):
    """An object of the watched kind, but empty."""

    metadata: BookmarkMeta


class Bookmark(msgspec.Struct, frozen=True, tag="BOOKMARK"):
    """Everything up to this resource version has been sent."""

    object: BookmarkObject


class Refused(msgspec.Struct, frozen=True, tag="ERROR"):
    """The server ends the watch, and says why."""

    object: Status


class UnreadableMeta(KubeStruct):
    """The identity of an object that does not fit its model."""

    name: str = ""
    namespace: str = ""
    resource_version: str = ""


class Unreadable(msgspec.Struct, frozen=True):
    """An object that exists but does not fit its model: to be logged, and treated as absent."""

    metadata: UnreadableMeta
    problem: str


type WatchEvent[T: KubeObject] = Added[T] | Modified[T] | Deleted[T] | Bookmark | Refused | Unreadable


class ListPage[T: KubeObject](msgspec.Struct, frozen=True, kw_only=True):
    """A page of a list; `continue_` is empty on the last one.

    `limit`: how many objects it was asked for, where that had to be fewer than wanted.
    """

    items: Sequence[T]
    resource_version: str
    continue_: str = ""
    unreadable: tuple[Unreadable, ...] = ()
    limit: int | None = None


class _ListMeta(KubeStruct):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class _ListBody[T](KubeStruct):
    metadata: _ListMeta
    items: list[T] | None = None


class _Identity(KubeStruct):
    metadata: UnreadableMeta = UnreadableMeta()


class _IdentityEvent(KubeStruct):
    object: _Identity


@cache
def object_decoder(model: type[KubeObject]) -> Decoder[Any]:
    """Return the decoder of single objects."""
    return Decoder(model)


# The model is a value in the two functions below, which a type checker cannot subscript these with.
_GENERIC_LIST: Any = _ListBody
_GENERIC_EVENTS: tuple[Any, ...] = (Added, Modified, Deleted)


@cache
def _list_decoder(model: type[KubeObject]) -> Decoder[_ListBody[Any]]:
    return Decoder(_GENERIC_LIST[model])


@cache
def _event_decoder(model: type[KubeObject]) -> Decoder[Any]:
    added, modified, deleted = (generic[model] for generic in _GENERIC_EVENTS)
    events: Any = added | modified | deleted | Bookmark | Refused
    return Decoder(events)


_RAW_LIST = Decoder(_ListBody[msgspec.Raw])
_IDENTITY = Decoder(_Identity)
_IDENTITY_EVENT = Decoder(_IdentityEvent)


def decode_page[T: KubeObject](model: type[T], body: bytes) -> ListPage[T]:
    """Decode one page of a list; an object that does not fit its model does not spoil the others."""
    try:
        page = _list_decoder(model).decode(body)
    except msgspec.ValidationError:
        return _decode_one_by_one(model, body)
    items: list[T] = page.items or []
    return ListPage(
        items=items,
        resource_version=page.metadata.resource_version,
        continue_=page.metadata.continue_,
    )


def _decode_one_by_one[T: KubeObject](model: type[T], body: bytes) -> ListPage[T]:
    page = _RAW_LIST.decode(body)
    items: list[T] = []
    unreadable: list[Unreadable] = []
    for raw in page.items or ():
        try:
            items.append(object_decoder(model).decode(raw))
        except msgspec.ValidationError as error:
            unreadable.append(Unreadable(_IDENTITY.decode(raw).metadata, str(error)))
    return ListPage(
        items=items,
        resource_version=page.metadata.resource_version,
        continue_=page.metadata.continue_,
        unreadable=tuple(unreadable),
    )


def decode_event[T: KubeObject](model: type[T], line: bytes) -> WatchEvent[T]:
    """Decode one line of a watch. Raises msgspec.DecodeError when it is no watch event at all."""
    try:
        return _event_decoder(model).decode(line)
    except msgspec.ValidationError as error:
        return Unreadable(_IDENTITY_EVENT.decode(line).object.metadata, str(error))


class LineSplitter:
    """Cuts a byte stream into lines, however long, copying each byte at most twice.

    `pending`: how many bytes there are of a line that has begun and not ended.
    """

    def __init__(self) -> None:
        self._pending: list[bytes] = []
        self.pending = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that this chunk completes, without their newlines; empty ones are dropped."""
        lines = chunk.split(b"\n")
        rest = lines.pop()
        if lines and self._pending:
            lines[0] = b"".join((*self._pending, lines[0]))
            self._pending.clear()
            self.pending = 0
        if rest:
            self._pending.append(rest)
            self.pending += len(rest)
        return [line for line in lines if line]
