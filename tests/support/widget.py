"""A made-up kind, as the API server would send it."""

from typing import Any

import msgspec

from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.resources import Resource
from kagenti_operator.runtime.cache.object_cache import Selection


class Widget(KubeObject):
    """A kind with a field of its own that must be a number."""

    size: int = 0


WIDGETS = Resource("example.com", "v1", "widgets", "Widget", Widget)
ALL_WIDGETS = Selection(resource=WIDGETS)


def wire(
    name: str, version: int, size: object = 0, *, namespace: str = "team1", uid: str = ""
) -> dict[str, Any]:
    """The JSON of a widget."""
    metadata = {
        "name": name,
        "namespace": namespace,
        "resourceVersion": str(version),
        "uid": uid or f"uid-{name}",
    }
    return {"metadata": metadata, "size": size}


def widget(name: str, version: int, size: int = 0, *, namespace: str = "team1", uid: str = "") -> Widget:
    """A decoded widget."""
    return msgspec.convert(wire(name, version, size, namespace=namespace, uid=uid), Widget)


def page(version: int, *items: dict[str, Any], more: str = "") -> dict[str, Any]:
    """The JSON of a page of a list."""
    return {"metadata": {"resourceVersion": str(version), "continue": more}, "items": list(items)}


def event(kind: str, obj: dict[str, Any]) -> dict[str, Any]:
    """A watch event."""
    return {"type": kind, "object": obj}


def bookmark(version: int) -> dict[str, Any]:
    """Everything up to that version was sent."""
    return event("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})
