"""Brings single objects to what is wanted, by a request only where something differs."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
import structlog

from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.resources import Resource

log = structlog.get_logger(__name__)

# What was written and is not in the cache after so many seconds was undone before an informer saw it, while
# its watch was broken: no event would come. Whoever wrote looks again; a change that is seen cancels it.
CONFIRM_SECONDS = 15.0
# They are the resource's, and models do not repeat them.
_TYPE_FIELDS = ("apiVersion", "kind")


def first_difference(desired: object, current: object, path: str = "") -> str | None:
    """Return the path of the first wanted value that `current` lacks or has otherwise, None if there is none.

    Mappings may hold more than is wanted; lists are compared element by element and must be of one length.
    A wanted None is fulfilled by absence.
    """
    if isinstance(desired, Mapping):
        if not isinstance(current, Mapping):
            return path
        have = cast("Mapping[str, object]", current)
        wanted_items = cast("Mapping[str, object]", desired).items()
        return next(
            (d for k, v in wanted_items if (d := first_difference(v, have.get(k), f"{path}.{k}"))), None
        )
    if isinstance(desired, Sequence) and not isinstance(desired, str | bytes):
        wanted = cast("Sequence[object]", desired)
        if not isinstance(current, Sequence) or isinstance(current, str | bytes):
            return path
        present = cast("Sequence[object]", current)
        if len(wanted) != len(present):
            return path
        pairs = enumerate(zip(wanted, present, strict=True))
        return next((d for i, (w, p) in pairs if (d := first_difference(w, p, f"{path}[{i}]"))), None)
    return None if desired == current else path


def is_subset(desired: object, current: object) -> bool:
    """Whether `current` already has everything that is wanted; see `first_difference`."""
    return first_difference(desired, current) is None


def differs(desired: Mapping[str, Any], current: KubeObject | None) -> bool:
    """Whether `desired` has to be applied for `current`, the cached object, to have it all."""
    return current is None or _difference(desired, current) is not None


class Applier:
    """Writes what is wanted and differs, deletes what is not wanted and there."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    async def ensure[T: KubeObject](
        self, resource: Resource[T], desired: Mapping[str, Any], current: T | None
    ) -> bool:
        """Server-side apply `desired` unless `current`, as cached, has it all; return whether it wrote.

        Only fields that the resource's model carries can be compared, so only those may be in `desired`.
        Raises KubeError.
        """
        if current is not None and _difference(desired, current) is None:
            return False
        applied = await self._client.apply(resource, desired)
        _log("Applied", resource, applied)
        # Absent before, it may be wanted only to exist; present before, this ends never.
        if current is not None and (field := _difference(desired, applied)):
            log.warning(
                "Field does not converge: the API server keeps another value, or one that is not readable; "
                "it is applied again at each reconciliation",
                kind=resource.kind,
                namespace=applied.metadata.namespace,
                name=applied.metadata.name,
                field=field,
            )
        return True

    async def delete[T: KubeObject](self, resource: Resource[T], current: T | None) -> bool:
        """Delete `current`, and only it: not another that took its name; return whether it was there.

        Raises KubeError, a conflict where another object has the name by now.
        """
        if current is None or current.metadata.deletion_timestamp is not None:
            return False
        meta = current.metadata
        deleted = await self._client.delete(resource, meta.name, meta.namespace or None, uid=meta.uid)
        if deleted:
            _log("Deleted", resource, current)
        return deleted


def _difference(desired: Mapping[str, Any], current: KubeObject) -> str | None:
    wanted = {key: value for key, value in desired.items() if key not in _TYPE_FIELDS}
    return first_difference(wanted, msgspec.to_builtins(current))


def _log(message: str, resource: Resource[Any], obj: KubeObject) -> None:
    log.info(message, kind=resource.kind, namespace=obj.metadata.namespace, name=obj.metadata.name)
