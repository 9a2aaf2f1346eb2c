"""A made-up kind, as the API server would send it."""

from typing import Any

import msgspec

from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.resources import Resource
from kagenti_operator.runtime.cache.object_cache import Selection


class Gadget(KubeObject):
    """A kind with a field of its own that must be a number."""

    size: int = 0


GADGETS = Resource("example.com", "v1", "gadgets", "Gadget", Gadget)
ALL_GADGETS = Selection(resource=GADGETS)


def wire(
    name: str, version: int, size: object = 0, *, namespace: str = "team1", uid: str = ""
) -> dict[str, Any]:
    """The JSON of a gadget."""
    metadata = {
        "name": name,
        "namespace": namespace,
        "resourceVersion": str(version),
        "uid": uid or f"uid-{name}",
    }
    return {"metadata": metadata, "size": size}


def gadget(name: str, version: int, size: int = 0, *, namespace: str = "team1", uid: str = "") -> Gadget:
    """A decoded gadget."""
    return msgspec.convert(wire(name, version, size, namespace=namespace, uid=uid), Gadget)


def page(version: int, *items: dict[str, Any], more: str = "") -> dict[str, Any]:
    """The JSON of a page of a list."""
    return {"metadata": {"resourceVersion": str(version), "continue": more}, "items": list(items)}


def event(kind: str, obj: dict[str, Any]) -> dict[str, Any]:
    """A watch event."""
    return {"type": kind, "object": obj}


def bookmark(version: int) -> dict[str, Any]:
    """Everything up to that version was sent."""
    return event("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})
