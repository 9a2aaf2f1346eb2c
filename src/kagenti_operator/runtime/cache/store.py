"""The cache of one kind's objects, with secondary indexes that are kept as objects come and go."""

import sys
from collections.abc import Callable, Iterable, Mapping

import msgspec

from kagenti_operator.kube.objects.models import KubeObject

# Namespace ("" for cluster-scoped objects) and name.
type Key = tuple[str, str]
type IndexFunction[T: KubeObject] = Callable[[T], Iterable[str]]


def key_of(obj: KubeObject) -> Key:
    """Return the object's key, with one string per namespace however many objects it holds."""
    metadata = obj.metadata
    namespace = sys.intern(metadata.namespace)
    # The object is ours alone until it is in a store; this only drops a copy of an equal string.
    msgspec.structs.force_setattr(metadata, "namespace", namespace)
    return namespace, metadata.name


class Store[T: KubeObject]:
    """Objects by namespace and name. Everybody may read; only the informer that owns it writes.

    What is returned are snapshots of immutable objects, so they may be kept across awaits.
    """

    def __init__(self, indexes: Mapping[str, IndexFunction[T]]) -> None:
        self._objects: dict[Key, T] = {}
        self._functions = dict(indexes)
        self._indexes: dict[str, dict[str, dict[Key, T]]] = {name: {} for name in indexes}

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, namespace: str, name: str) -> T | None:
        """Return the object, None where there is none; the namespace of cluster-scoped objects is empty."""
        return self._objects.get((namespace, name))

    def values(self) -> tuple[T, ...]:
        """Return all objects."""
        return tuple(self._objects.values())

    def by_index(self, index: str, value: str) -> tuple[T, ...]:
        """Return the objects for which the index function gave that value."""
        return tuple(self._indexes[index].get(value, {}).values())

    def index_size(self, index: str, value: str) -> int:
        """Return how many objects `by_index` would."""
        return len(self._indexes[index].get(value, ()))

    def index_values(self, index: str) -> tuple[str, ...]:
        """Return the values for which there are objects."""
        return tuple(self._indexes[index])

    def all_keys(self) -> tuple[Key, ...]:
        """Return the keys of all objects."""
        return tuple(self._objects)

    def put(self, key: Key, obj: T) -> T | None:
        """Add or replace an object; return the one before."""
        old = self._objects.get(key)
        self._objects[key] = obj
        self._reindex(key, old, obj)
        return old

    def remove(self, key: Key) -> T | None:
        """Remove an object; return it, None where there was none."""
        old = self._objects.pop(key, None)
        if old is not None:
            self._reindex(key, old, None)
        return old

    def _reindex(self, key: Key, old: T | None, new: T | None) -> None:
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
                    index.setdefault(value, {})[key] = new
