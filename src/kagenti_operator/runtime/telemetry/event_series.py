"""What is said about which object, how often, and whether the API server needs to hear it again."""

from collections.abc import Mapping
from typing import Any, Literal, Self

import msgspec

from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.resources import Resource

# client-go: 25 events at once about one object, then one in five minutes.
BURST = 25.0
REFILL_SECONDS = 300.0
# The count of a series is written when it has doubled, or was written that long ago.
SERIES_WRITE_SECONDS = 300.0

type EventType = Literal["Normal", "Warning"]


class ObjectRef(msgspec.Struct, frozen=True, kw_only=True):
    """Whom an event is about; the namespace is empty for a cluster-scoped object."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""
    uid: str = ""

    @classmethod
    def of(cls, resource: Resource[Any], obj: KubeObject) -> Self:
        """Point at an object of that resource."""
        meta = obj.metadata
        return cls(
            api_version=resource.api_version,
            kind=resource.kind,
            name=meta.name,
            namespace=meta.namespace,
            uid=meta.uid,
        )

    @property
    def event_namespace(self) -> str:
        """Where its events live: those about cluster-scoped objects in `default`."""
        return self.namespace or "default"

    def to_wire(self) -> Mapping[str, str]:
        """Return the `v1` ObjectReference."""
        fields = {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "name": self.name,
            "namespace": self.namespace,
            "uid": self.uid,
        }
        return {key: value for key, value in fields.items() if value}


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What makes two events one series."""

    about: ObjectRef
    type: EventType
    reason: str
    action: str
    note: str


class Series:
    """How often a statement was made, and what of that the API server knows."""

    def __init__(self, name: str, began: str) -> None:
        self.name = name
        self.began = began
        self.count = 0
        self.last = began
        self.last_at = 0.0
        self.written_count = 0
        self.written_at = 0.0

    def observe(self, at: float, time: str) -> None:
        """Count one more, made at `at` by the event loop's time, at `time` as people read it."""
        self.count += 1
        self.last_at = at
        self.last = time

    def worth_writing(self) -> bool:
        """Whether the API server should hear of the last one."""
        return self.count >= 2 * self.written_count or self.last_at - self.written_at >= SERIES_WRITE_SECONDS

    def to_wire(self) -> Mapping[str, Any]:
        """Return the `series` of an Event."""
        return {"count": self.count, "lastObservedTime": self.last}
