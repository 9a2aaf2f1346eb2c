"""Brings single objects to what is wanted, by a request only where something differs."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, cast

import msgspec
import structlog

from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.objects.models import KubeObject, wire_names
from kagenti_operator.kube.resources import Resource
from kagenti_operator.runtime.control.write_backoff import LAST, MOST_STOPPED, WriteBackoff, WritesReverted
from kagenti_operator.runtime.telemetry.standing import Standing

log = structlog.get_logger(__name__)

# What was written and is not in the cache after so many seconds was undone before an informer saw it, while
# its watch was broken: no event would come. Whoever wrote looks again; a change that is seen cancels it.
CONFIRM_SECONDS = 15.0
# They are the resource's, and models do not repeat them.
_TYPE_FIELDS = ("apiVersion", "kind")
_DELETED = "deleted"

# Kind, namespace and name.
type _Key = tuple[str, str, str]


def first_difference(desired: object, current: object, path: str = "") -> str | None:
    """Return the path of the first wanted value that `current` lacks or has otherwise, None if there is none.

    Dicts may hold more than is wanted, and may be structs, with their names on the wire; lists are compared
    element by element and must be of one length. A wanted None is fulfilled by absence.
    """
    # Most values are equal as they stand, which is seen at once.
    if desired == current:
        return None
    if isinstance(desired, dict):
        fields = cast("dict[str, object]", desired)
        if isinstance(current, msgspec.Struct):
            names = wire_names(type(current))
            values = [getattr(current, names.get(name, ""), None) for name in fields]
        elif isinstance(current, dict):
            values = map(cast("dict[str, object]", current).get, fields)
        else:
            return path
        for name, wanted, found in zip(fields, fields.values(), values, strict=True):
            if wanted != found and (d := first_difference(wanted, found, f"{path}.{name}")):
                return d
        return None
    if isinstance(desired, (list, tuple)) and isinstance(current, (list, tuple)):
        items, present = cast("Sequence[object]", desired), cast("Sequence[object]", current)
        if len(items) != len(present):
            return path
        for i, (wanted, found) in enumerate(zip(items, present, strict=True)):
            if wanted != found and (d := first_difference(wanted, found, f"{path}[{i}]")):
                return d
        return None
    return path


def is_subset(desired: object, current: object) -> bool:
    """Whether `current` already has everything that is wanted; see `first_difference`."""
    return first_difference(desired, current) is None


def differs(desired: Mapping[str, Any], current: KubeObject | None) -> bool:
    """Whether `desired` has to be applied for `current`, the cached object, to have it all."""
    return current is None or _difference(desired, current) is not None


class Applier:
    """Writes what is wanted and differs, deletes what is not wanted and there.

    Another writer that reverts the same write again and again is not fought for ever, whatever the object:
    after a few writes each one waits longer, and after `LAST` of them the object is left as it is until
    somebody changes it otherwise.
    """

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._writes = WriteBackoff[_Key]()
        # Fights that were logged.
        self._logged = Standing[_Key](most=MOST_STOPPED)

    async def ensure[T: KubeObject](
        self,
        resource: Resource[T],
        desired: Mapping[str, Any],
        current: T | None,
        *,
        replaced: T | None = None,
        force: bool = True,
    ) -> bool:
        """Server-side apply `desired` unless `current`, as cached, has it all; return whether it wrote.

        Only fields that the resource's model carries can be compared, so only those may be in `desired`.
        `replaced`: the object of that name, where the API refuses to change it; it is deleted before.
        Without `force` a field that another manager has otherwise is a conflict.

        Raises KubeError, and WritesReverted where another writer keeps reverting it.
        """
        key = _key(resource, desired["metadata"].get("namespace"), desired["metadata"]["name"])
        self._forget_what_lasted(key)
        field = None if current is None else _difference(desired, current)
        if current is not None and field is None:
            self._writes.settled(key)
            return False
        what = msgspec.json.encode(desired, order="deterministic")
        self._check(key, what, current or replaced, "changing" if current or replaced else "deleting", field)
        if replaced is not None:
            await self._delete(resource, replaced)
        applied = await self._client.apply(resource, desired, force=force)
        _log("Applied", resource, applied)
        # Absent before, it may be wanted only to exist; present before, this ends never.
        kept = current is None or self._is_kept(resource, desired, applied)
        self._writes.wrote(key, what, version_of(applied), kept=kept, whole=current is None)
        return True

    async def create[T: KubeObject](self, resource: Resource[T], desired: Mapping[str, Any]) -> None:
        """Create what is wanted once, and never over an object that somebody else makes at the same time.

        Raises KubeError, a conflict where it exists, and WritesReverted where another writer keeps deleting
        it.
        """
        key = _key(resource, desired["metadata"].get("namespace"), desired["metadata"]["name"])
        self._forget_what_lasted(key)
        what = msgspec.json.encode(desired, order="deterministic")
        self._check(key, what, None, "deleting", None)
        created = await self._client.create(resource, desired)
        self._writes.wrote(key, what, version_of(created), whole=True)

    async def delete[T: KubeObject](self, resource: Resource[T], current: T | None) -> bool:
        """Delete `current`, and only it: not another that took its name; return whether it was there.

        Raises KubeError, a conflict where another object has the name by now, and WritesReverted where
        another writer keeps making it anew.
        """
        if current is None or current.metadata.deletion_timestamp is not None:
            return False
        key = _key(resource, current.metadata.namespace, current.metadata.name)
        self._forget_what_lasted(key)
        self._check(key, _DELETED, current, "making", None)
        deleted = await self._delete(resource, current)
        if deleted:
            self._writes.wrote(key, _DELETED, whole=True)
        return deleted

    def forget(self, resource: Resource[Any], namespace: str, name: str) -> None:
        """It is not wanted and not there: nobody reverted anything, and it may be made at once again."""
        key = _key(resource, namespace, name)
        self._writes.forget(key)
        self._logged.ends(key)

    def settled[T: KubeObject](self, resource: Resource[T], current: T) -> None:
        """It is there, which is all that is wanted of it."""
        self._writes.settled(_key(resource, current.metadata.namespace, current.metadata.name))

    async def _delete[T: KubeObject](self, resource: Resource[T], current: T) -> bool:
        meta = current.metadata
        deleted = await self._client.delete(resource, meta.name, meta.namespace or None, uid=meta.uid)
        if deleted:
            _log("Deleted", resource, current)
        return deleted

    def _forget_what_lasted(self, key: _Key) -> None:
        self._writes.forget_what_lasted()
        if key not in self._writes:
            self._logged.ends(key)

    def _check(
        self, key: _Key, what: Hashable, found: KubeObject | None, verb: str, field: str | None
    ) -> None:
        """Raise WritesReverted unless it may be written now."""
        wait = self._writes.wait(key, what, version_of(found) if found else "")
        if not wait:
            return
        kind, *names = key
        text = (
            f"another writer keeps {verb} {kind} {'/'.join(filter(None, names))}"
            f"{f' ({field})' if field else ''} against the operator, which waits ever longer between its "
            f"writes and stops after {LAST} until the object changes otherwise. Find that writer in the "
            "object's managedFields or the audit log, and have it leave this alone"
        )
        reverted = WritesReverted(text, wait)
        stopped = reverted.retry_after is None
        if self._logged.holds(key, f"{text} {stopped}"):
            log.warning(text, stopped=stopped)
        raise reverted

    def _is_kept[T: KubeObject](self, resource: Resource[T], desired: Mapping[str, Any], applied: T) -> bool:
        field = _difference(desired, applied)
        if field is not None:
            log.warning(
                "Field does not converge: the API server keeps another value, or one that is not readable; "
                "it is applied again, ever more rarely",
                kind=resource.kind,
                namespace=applied.metadata.namespace,
                name=applied.metadata.name,
                field=field,
            )
        return field is None


def version_of(obj: KubeObject) -> str:
    """What changes when somebody changes the object; not with its status, where it has a generation."""
    generation = getattr(obj.metadata, "generation", 0)
    return str(generation) if generation else obj.metadata.resource_version


def _key(resource: Resource[Any], namespace: str | None, name: str) -> _Key:
    return (resource.kind, namespace or "", name)


def _difference(desired: Mapping[str, Any], current: KubeObject) -> str | None:
    wanted = {key: value for key, value in desired.items() if key not in _TYPE_FIELDS}
    return first_difference(wanted, current)


def _log(message: str, resource: Resource[Any], obj: KubeObject) -> None:
    log.info(message, kind=resource.kind, namespace=obj.metadata.namespace, name=obj.metadata.name)
