"""The objects of one kind as an informer last saw them, with indexes, and the events of their changes."""

import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec
import structlog

from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.objects.packing import Packing
from kagenti_operator.kube.resources import Resource
from kagenti_operator.runtime.cache.object_store import ObjectKey, ObjectStore
from kagenti_operator.runtime.observable import Observable

log = structlog.get_logger(__name__)

type IndexFunction[T: KubeObject] = Callable[[T], Iterable[str]]


@dataclass(frozen=True, kw_only=True)
class Selection[T: KubeObject]:
    """Which objects a cache holds.

    `optional`: without permission to list them they count as absent, instead of being waited for.
    `where_served`: an API group without which there are none, so that nothing is asked for. `keep`: of what
    the API server selects, only what this is true of is held.
    `packed`: there may be as many as agents, so they are kept as bytes.
    """

    resource: Resource[T]
    namespace: str | None = None
    name: str = ""
    label_selector: str = ""
    field_selector: str = ""
    optional: bool = False
    where_served: str = ""
    keep: Callable[[T], bool] | None = None
    packed: bool = False
    indexes: tuple[tuple[str, IndexFunction[T]], ...] = ()

    @property
    def deferrable(self) -> bool:
        """Whether work may begin before it is known; what depends on it then waits by itself."""
        return self.optional or self.resource.is_custom

    @property
    def fields(self) -> str:
        """The field selector of lists and watches, with the one by name."""
        return ",".join(
            filter(None, (f"metadata.name={self.name}" if self.name else "", self.field_selector))
        )

    def holds(self, obj: T) -> bool:
        """Whether the object is one that a cache holds."""
        return self.keep is None or self.keep(obj)

    def __str__(self) -> str:
        kind = self.resource.crd_name.rstrip(".")
        return " ".join(filter(None, (kind, self.namespace, self.label_selector, self.fields)))


class Added[T: KubeObject](msgspec.Struct, frozen=True):
    """An object that was not in the cache."""

    object: T


class Updated[T: KubeObject](msgspec.Struct, frozen=True):
    """An object that took the place of `old`."""

    old: T
    object: T


class Removed[T: KubeObject](msgspec.Struct, frozen=True):
    """An object that is no longer in the cache, in its last known state."""

    object: T


type Event[T: KubeObject] = Added[T] | Updated[T] | Removed[T]
type Handler[T: KubeObject] = Callable[[Event[T]], None]


def key_of(obj: KubeObject) -> ObjectKey:
    """Return the object's key, with one string per namespace however many objects it holds."""
    metadata = obj.metadata
    namespace = sys.intern(metadata.namespace)
    # Nobody else has the object before it is in a cache; this only drops a copy of an equal string.
    msgspec.structs.force_setattr(metadata, "namespace", namespace)
    return namespace, metadata.name


class ObjectCache[T: KubeObject]:
    """Objects by namespace and name. Everybody may read; only the informer that owns it writes.

    A change is in the cache before handlers hear of it. A handler that raises is logged, and stops neither
    the other handlers nor the cache. What is returned are snapshots of immutable objects: they may be kept
    across awaits.
    """

    def __init__(self, selection: Selection[T]) -> None:
        self.selection = selection
        self._objects = ObjectStore[T](Packing(selection.resource.model) if selection.packed else None)
        self._functions = dict(selection.indexes)
        self._indexes: dict[str, dict[str, dict[ObjectKey, None]]] = {index: {} for index in self._functions}
        self._handlers: list[Handler[T]] = []
        # Whether the API is served; False before the first answer too. One that appears may have no objects,
        # so its appearance is no other event.
        self.served = Observable(False)
        # Set once the cache is complete: the first list is done, or the API is known not to be served.
        self.synced = asyncio.Event()

    # --- reading ---------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, namespace: str, name: str) -> T | None:
        """Return the object, None where there is none; the namespace of cluster-scoped objects is empty."""
        return self._objects.get((namespace, name))

    def __contains__(self, key: ObjectKey) -> bool:
        return key in self._objects

    def __iter__(self) -> Iterator[T]:
        return iter(self._objects)

    def values(self) -> tuple[T, ...]:
        """Return all objects, of a selection of which there are few."""
        return tuple(self._objects)

    def all_keys(self) -> Iterator[ObjectKey]:
        """Return the keys of all objects."""
        return self._objects.all_keys()

    def only(self) -> T | None:
        """Return the object of a selection that holds one at most."""
        return next(iter(self._objects), None)

    def of_namespace(self, namespace: str) -> Iterator[T]:
        """Return the objects of a namespace."""
        return self._objects.of_namespace(namespace)

    def count(self, namespace: str) -> int:
        """Return how many objects of a namespace there are."""
        return self._objects.count(namespace)

    def namespaces(self) -> tuple[str, ...]:
        """Return the namespaces in which there are objects."""
        return self._objects.namespaces()

    def by_index(self, index: str, value: str) -> tuple[T, ...]:
        """Return the objects for which the index function gave that value."""
        found = map(self._objects.get, self._indexes[index].get(value, ()))
        return tuple(obj for obj in found if obj is not None)

    def subscribe(self, handler: Handler[T]) -> None:
        """Call `handler` after every change from now on."""
        self._handlers.append(handler)

    # --- writing ---------------------------------------------------------------------------------------

    def replace(self, objects: Mapping[ObjectKey, T]) -> None:
        """Make these the cache's objects; only what differs becomes an event."""
        listed = self.empty_store()
        for key, obj in objects.items():
            listed.put(key, obj)
        self.adopt(listed)

    def empty_store(self) -> ObjectStore[T]:
        """Return where a list is gathered for `adopt`."""
        return self._objects.empty()

    def keep(self, key: ObjectKey, listed: ObjectStore[T]) -> None:
        """Put the copy that the cache has into a list: a second list of a fleet costs little memory then."""
        listed.take_over(key, self._objects)

    def adopt(self, listed: ObjectStore[T]) -> None:
        """Make what was listed the cache's; only what differs becomes an event."""
        self._become(listed, served=True)

    def put(self, key: ObjectKey, obj: T) -> None:
        """Store an object that is new or changed, unless the cache has a newer one."""
        known = self._objects.get(key)
        if known is None or not _is_older(obj.metadata.resource_version, known):
            self._notify(self._put(key, obj, known))

    def remove(self, key: ObjectKey, resource_version: str) -> None:
        """Remove an object that is gone since that version, unless the cache has a newer one."""
        known = self._objects.get(key)
        if known is not None and not _is_older(resource_version, known):
            self._notify(self._remove(key, known))

    def clear(self) -> None:
        """Remove everything: the API is not served."""
        self._become(self.empty_store(), served=False)

    def _become(self, objects: ObjectStore[T], *, served: bool) -> None:
        before, self._objects = self._objects, objects
        gone = [key for key in before.all_keys() if key not in objects]
        new = [key for key in objects.all_keys() if not objects.has_copy_of(key, before)]
        if self._functions:
            for key in (*gone, *new):
                self._reindex(key, before.get(key), objects.get(key))
        self.synced.set()
        self.served.set(served)
        # One after the other: the events of a fleet are several times as large as its objects.
        for key in gone:
            if (old := before.get(key)) is not None:
                self._notify(Removed(old))
        for key in new:
            if (obj := objects.get(key)) is not None:
                old = before.get(key)
                self._notify(Added(obj) if old is None else Updated(old, obj))

    def _put(self, key: ObjectKey, obj: T, old: T | None) -> Event[T]:
        self._objects.put(key, obj)
        self._reindex(key, old, obj)
        return Added(obj) if old is None else Updated(old, obj)

    def _remove(self, key: ObjectKey, old: T) -> Event[T]:
        self._objects.discard(key)
        self._reindex(key, old, None)
        return Removed(old)

    def _reindex(self, key: ObjectKey, old: T | None, new: T | None) -> None:
        for name, function in self._functions.items():
            index = self._indexes[name]
            # Sets, because a function may give a value twice.
            before = frozenset(function(old)) if old is not None else frozenset[str]()
            after = frozenset(function(new)) if new is not None else frozenset[str]()
            for value in before - after:
                del index[value][key]
                if not index[value]:
                    del index[value]
            if new is not None:
                for value in after:
                    index.setdefault(value, {})[key] = None

    def _notify(self, *events: Event[T]) -> None:
        for event in events:
            match event:
                case Updated(old, obj) if old.metadata.uid != obj.metadata.uid:
                    # Deleted and made again unseen: those who follow the old one must hear of its end.
                    self._notify(Removed(old), Added(obj))
                case _:
                    for handler in self._handlers:
                        self._call(handler, event)

    def _call(self, handler: Handler[T], event: Event[T]) -> None:
        try:
            handler(event)
        except Exception:
            log.exception("An event handler failed", informer=str(self.selection))


def is_same(known: KubeObject, obj: KubeObject) -> bool:
    """Whether both are the same object at the same version."""
    a, b = known.metadata, obj.metadata
    return a.resource_version == b.resource_version and a.uid == b.uid


def _is_older(version: str, known: KubeObject) -> bool:
    """Compare resource versions; the API guarantees that they are growing decimal numbers (since 1.35)."""
    stored = known.metadata.resource_version
    return version.isdecimal() and stored.isdecimal() and int(version) < int(stored)
