"""What a reflector reports, put into a store and told to subscribers."""

import asyncio
from collections.abc import Callable, Mapping

import structlog

from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.runtime.cache.store import IndexFunction, Key, Store

# Called with (None, new) for an addition, (old, new) for a change, (old, None) for a deletion.
type Handler[T: KubeObject] = Callable[[T | None, T | None], None]

log = structlog.get_logger("runtime.informer")


class Mirror[T: KubeObject]:
    """The one writer of a store: a change is in the store before anybody is told of it.

    A handler that raises is logged, and neither stops the others nor the mirror.
    """

    def __init__(self, name: str, indexes: Mapping[str, IndexFunction[T]]) -> None:
        self._name = name
        self.store = Store[T](indexes)
        self.synced = asyncio.Event()
        self.present = False
        self._handlers: list[Handler[T]] = []
        self._presence_handlers: list[Callable[[], None]] = []

    def subscribe(self, handler: Handler[T]) -> None:
        """Tell this one of every change from now on."""
        self._handlers.append(handler)

    def subscribe_presence(self, handler: Callable[[], None]) -> None:
        """Tell this one when the API appears or vanishes."""
        self._presence_handlers.append(handler)

    def known(self, key: Key) -> T | None:
        """Return the copy of an object."""
        return self.store.get(*key)

    def replace(self, objects: Mapping[Key, T]) -> None:
        """Make these the store's objects, and tell only what differs."""
        gone = [(self.store.remove(key), None) for key in self.store.all_keys() if key not in objects]
        new = [(self.store.put(key, obj), obj) for key, obj in objects.items() if self.known(key) is not obj]
        self._set_present(True)
        for old, obj in (*gone, *new):
            self._tell(old, obj)

    def put(self, key: Key, obj: T) -> None:
        """Store an object that is new or changed, unless what is stored is newer."""
        known = self.known(key)
        if known is None or not _is_older(obj.metadata.resource_version, known):
            self._tell(self.store.put(key, obj), obj)

    def remove(self, key: Key, resource_version: str) -> None:
        """Remove an object that is gone since that version, unless what is stored is newer."""
        known = self.known(key)
        if known is not None and not _is_older(resource_version, known):
            self._tell(self.store.remove(key), None)

    def vanish(self) -> None:
        """Remove everything: the API is not served."""
        gone = [self.store.remove(key) for key in self.store.all_keys()]
        self._set_present(False)
        for old in gone:
            self._tell(old, None)

    def _set_present(self, present: bool) -> None:
        changed = present != self.present
        self.present = present
        self.synced.set()
        if changed:
            for handler in self._presence_handlers:
                self._call(handler)

    def _tell(self, old: T | None, new: T | None) -> None:
        if old is not None and new is not None and old.metadata.uid != new.metadata.uid:
            # Deleted and made again unseen: those who follow the old one must hear of its end.
            self._tell(old, None)
            old = None
        for handler in self._handlers:
            self._call(handler, old, new)

    def _call[**P](self, handler: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            handler(*args, **kwargs)
        except Exception:
            log.exception("A subscriber failed", informer=self._name)


def _is_older(version: str, known: KubeObject) -> bool:
    """Compare resource versions; the API guarantees that they are growing decimal numbers (since 1.35)."""
    stored = known.metadata.resource_version
    return version.isdecimal() and stored.isdecimal() and int(version) < int(stored)
