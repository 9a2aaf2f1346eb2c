"""Objects by namespace and name: all that is kept of a fleet lies here."""

import sys
from collections.abc import Iterator
from typing import Any

from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.objects.packing import Packing

# Namespace ("" for cluster-scoped objects) and name.
type ObjectKey = tuple[str, str]


class ObjectStore[T: KubeObject]:
    """A dict by namespace of dicts by name: no key is kept twice, and each namespace is known."""

    def __init__(self, packing: Packing[T] | None = None) -> None:
        """With `packing` objects are kept as bytes, and come back as equal ones instead of the same."""
        self._packing = packing
        self._kept: dict[str, dict[str, Any]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, key: ObjectKey) -> bool:
        namespace, name = key
        return name in self._kept.get(namespace, ())

    def __iter__(self) -> Iterator[T]:
        """One after the other, as they are when the namespace's turn comes."""
        for namespace in tuple(self._kept):
            yield from self.of_namespace(namespace)

    def all_keys(self) -> Iterator[ObjectKey]:
        """Those of the moment in which the namespace's turn comes."""
        for namespace in tuple(self._kept):
            for name in tuple(self._kept.get(namespace, ())):
                yield namespace, name

    def get(self, key: ObjectKey) -> T | None:
        """The object, or None."""
        namespace, name = key
        kept = self._kept.get(namespace)
        found = kept.get(name) if kept else None
        return None if found is None else self._unpack(found)

    def namespaces(self) -> tuple[str, ...]:
        """Those with any object."""
        return tuple(self._kept)

    def of_namespace(self, namespace: str) -> Iterator[T]:
        """The objects of a namespace."""
        return map(self._unpack, tuple(self._kept.get(namespace, {}).values()))

    def count(self, namespace: str) -> int:
        """How many objects of a namespace there are."""
        return len(self._kept.get(namespace, ()))

    def put(self, key: ObjectKey, obj: T) -> None:
        """Keep the object in the place of the one before."""
        self._put(key, self._packing.pack(obj) if self._packing else obj)

    def take_over(self, key: ObjectKey, other: "ObjectStore[T]") -> None:
        """Keep the very copy that the other store has."""
        namespace, name = key
        self._put(key, other._kept[namespace][name])

    def has_copy_of(self, key: ObjectKey, other: "ObjectStore[T]") -> bool:
        """Whether both have that object by `take_over`."""
        namespace, name = key
        mine = self._kept.get(namespace, {}).get(name)
        return mine is not None and mine is other._kept.get(namespace, {}).get(name)

    def discard(self, key: ObjectKey) -> None:
        """Keep nothing of it."""
        namespace, name = key
        names = self._kept.get(namespace, {})
        if names.pop(name, None) is not None:
            self._count -= 1
        if not names:
            self._kept.pop(namespace, None)

    def empty(self) -> "ObjectStore[T]":
        """Another store of the same kind, without objects."""
        return ObjectStore(self._packing)

    def _put(self, key: ObjectKey, kept: Any) -> None:
        namespace, name = key
        names = self._kept.setdefault(namespace, {})
        # An agent's Role and RoleBinding have one name.
        before = len(names)
        names[sys.intern(name)] = kept
        self._count += len(names) - before

    def _unpack(self, kept: Any) -> T:
        return self._packing.unpack(kept) if self._packing else kept
