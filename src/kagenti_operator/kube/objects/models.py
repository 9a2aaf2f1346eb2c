"""Partial typed Kubernetes objects: only the fields that somebody reads.

Decoding drops every other field, so a decoded object is never written back whole.
"""

import hashlib
from collections.abc import Mapping
from functools import cache
from itertools import islice
from typing import Any, cast, dataclass_transform

import msgspec


# No garbage collection: trees of immutable structs have no cycles, and with 10,000 agents in the cache a full
# collection takes a fifth of the time, and each agent 150 bytes less. The decorator tells type checkers that
# subclasses are frozen too.
@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class KubeStruct(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """Base of all wire types: immutable, camelCase on the wire."""


# Of what tenants write: longer than any value that means something, and short enough for ten thousand.
LONGEST_TEXT = 1024
LONGEST_FILE = 128
# Of the values of one ConfigMap, in characters; a base of a sidecar may be as large.
LARGEST_SHARED = 64 * 2**10
MOST_ITEMS = 64


def shorten(text: str, longest: int = LONGEST_TEXT) -> str:
    """A text that is too long to be meant seriously becomes its beginning and its hash: equal stays equal."""
    if len(text) <= longest:
        return text
    return f"{text[:64]}… ({len(text)} characters, sha256 {hashlib.sha256(text.encode()).hexdigest()})"


def bound_fields(struct: KubeStruct, *fields: str) -> None:
    """Bound the values of these fields, from a struct's `__post_init__`."""
    for field in fields:
        value = getattr(struct, field)
        if value is None or (isinstance(value, str) and len(value) <= LONGEST_TEXT):
            # Nearly all are.
            continue
        bounded = _bound(value)
        if bounded is not value:
            msgspec.structs.force_setattr(struct, field, bounded)


def _bound(value: object) -> object:
    """What is kept of a value: one that was too large differs from whatever is wanted just the same."""
    if isinstance(value, str):
        return shorten(value)
    if not isinstance(value, tuple):
        return value
    items = cast("tuple[object, ...]", value)
    if len(items) <= MOST_ITEMS and all(not isinstance(i, str) or len(i) <= LONGEST_TEXT for i in items):
        return items
    return tuple(shorten(item) if isinstance(item, str) else item for item in items[:MOST_ITEMS])


@cache
def wire_names(model: type[msgspec.Struct]) -> Mapping[str, str]:
    """The attributes of a model by their names on the wire."""
    return {field.encode_name: field.name for field in msgspec.structs.fields(model)}


class ObjectMeta(KubeStruct):
    """Identity, concurrency and the small metadata that controllers read."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    deletion_timestamp: str | None = None


class KubeObject(KubeStruct):
    """Any object: what the runtime needs to cache it and to point an event at it."""

    metadata: ObjectMeta


class OwnerReference(KubeStruct):
    """Who an object is deleted with."""

    api_version: str
    kind: str
    name: str
    uid: str

    def __post_init__(self) -> None:
        bound_fields(self, "api_version", "kind", "name")


class LabelledMeta(ObjectMeta):
    """Metadata with labels, annotations and owners, for objects of which there are few."""

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()


class LabelledObject(KubeObject):
    """Any object whose labels or annotations are read."""

    metadata: LabelledMeta


# --- what the platform decides -------------------------------------------------------------------------


class ManagedComponent(KubeStruct):
    """A component of a DataScienceCluster."""

    management_state: str | None = None


class DataScienceClusterComponents(KubeStruct):
    """The only component read; v1 objects do not have it."""

    mlflowoperator: ManagedComponent | None = None


class DataScienceClusterSpec(KubeStruct):
    """Spec of a DataScienceCluster."""

    components: DataScienceClusterComponents | None = None


class DataScienceCluster(KubeObject):
    """`datasciencecluster.opendatahub.io/v2`."""

    spec: DataScienceClusterSpec = DataScienceClusterSpec()

    @property
    def going(self) -> bool:
        """Whether it is being deleted; it then says what it said before, and nothing is made for it."""
        return self.metadata.deletion_timestamp is not None

    @property
    def mlflow_state(self) -> str | None:
        """`Managed`, `Unmanaged`, `Removed`, or None where the object does not say."""
        components = self.spec.components
        return (
            components.mlflowoperator.management_state if components and components.mlflowoperator else None
        )


class Condition(KubeStruct):
    """A status condition."""

    type: str
    status: str = "Unknown"
    last_transition_time: str | None = None


class MLflowAddress(KubeStruct):
    """In-cluster address."""

    url: str | None = None


class MLflowStatus(KubeStruct):
    """Status of an MLflow CR."""

    conditions: tuple[Condition, ...] | None = None
    address: MLflowAddress | None = None
    url: str | None = None
    version: str | None = None


class MLflowSpec(KubeStruct):
    """Spec of an MLflow CR. The selector is people's: one of a wrong shape is no reason to miss the CR."""

    workspace_label_selector: Any = None


class MLflow(KubeObject):
    """`mlflow.opendatahub.io/v1`, cluster-scoped today, namespaced in early releases."""

    spec: MLflowSpec = MLflowSpec()
    status: MLflowStatus | None = None


class ApplicationMenu(KubeStruct):
    """Where in the application menu of OpenShift's console a link is."""

    section: str = ""


class ConsoleLinkSpec(KubeStruct):
    """Spec of a ConsoleLink."""

    href: str = ""
    text: str = ""
    location: str = ""
    application_menu: ApplicationMenu | None = None


class ConsoleLink(LabelledObject):
    """`console.openshift.io/v1`."""

    spec: ConsoleLinkSpec = ConsoleLinkSpec()


# --- discovery and networking --------------------------------------------------------------------------


class EndpointConditions(KubeStruct):
    """Conditions of one endpoint."""

    ready: bool | None = None


class Endpoint(KubeStruct):
    """One backend of a Service."""

    conditions: EndpointConditions | None = None


class EndpointSlice(LabelledObject):
    """`discovery.k8s.io/v1`."""

    endpoints: tuple[Endpoint, ...] | None = None

    @property
    def ready(self) -> bool:
        """Whether at least one endpoint says that it is ready."""
        return any(e.conditions is not None and e.conditions.ready is True for e in self.endpoints or ())


class ConfigMap(LabelledObject):
    """Core ConfigMap."""

    data: dict[str, str] | None = None


class ManagedFields(KubeStruct):
    """Which fields a manager owns by one kind of operation."""

    manager: str = ""
    operation: str = ""
    # The keys of `data` and of `labels`: of all that an entry names only these are read.
    fields_v1: dict[str, Any] = {}

    def __post_init__(self) -> None:
        labels: dict[str, Any] = self.fields_v1.get("f:metadata", {}).get("f:labels", {})
        data: dict[str, Any] = self.fields_v1.get("f:data", {})
        kept = {
            "f:data": dict.fromkeys(islice(data, MOST_ITEMS), 1),
            "f:metadata": {"f:labels": dict.fromkeys(islice(labels, MOST_ITEMS), 1)},
        }
        msgspec.structs.force_setattr(self, "fields_v1", kept)

    @property
    def data(self) -> frozenset[str]:
        """The keys of `data`."""
        return frozenset(key[2:] for key in self.fields_v1["f:data"] if key.startswith("f:"))

    @property
    def labels(self) -> frozenset[str]:
        """The names of labels."""
        return frozenset(key[2:] for key in self.fields_v1["f:metadata"]["f:labels"] if key.startswith("f:"))


class SharedMeta(LabelledMeta):
    """Metadata of an object whose fields belong to several."""

    managed_fields: tuple[ManagedFields, ...] = ()

    def __post_init__(self) -> None:
        # Nobody reads the annotations, and of the rest nobody means as much as tenants may write.
        labels = dict(islice(sorted(self.labels.items()), MOST_ITEMS))
        msgspec.structs.force_setattr(self, "annotations", {})
        msgspec.structs.force_setattr(self, "labels", labels)
        msgspec.structs.force_setattr(self, "owner_references", self.owner_references[:MOST_ITEMS])
        msgspec.structs.force_setattr(self, "managed_fields", self.managed_fields[:MOST_ITEMS])


class SharedConfigMap(ConfigMap):
    """Core ConfigMap of which people have some keys, and the operator others.

    There is one in any namespace whose people like: what is larger than anything that means something is cut
    off, and so is still too large for whoever reads it.
    """

    metadata: SharedMeta

    def __post_init__(self) -> None:
        kept: dict[str, str] = {}
        left = LARGEST_SHARED + 1
        # What all else depends on comes first.
        keys = sorted(self.data or (), key=lambda key: (key != "config.yaml", key))
        for key in keys[:MOST_ITEMS]:
            kept[key] = (self.data or {})[key][:left]
            left = max(left - len(kept[key]), 0)
        if kept != (self.data or {}):
            msgspec.structs.force_setattr(self, "data", kept)


class WorkloadFile(ConfigMap):
    """A ConfigMap with files of a workload's sidecar. There are as many as agents: each text is a hash."""

    def __post_init__(self) -> None:
        kept = {key: shorten(text, LONGEST_FILE) for key, text in (self.data or {}).items()}
        msgspec.structs.force_setattr(self, "data", kept)


class Secret(LabelledObject):
    """Core Secret."""

    data: dict[str, bytes] | None = None


# --- admission -----------------------------------------------------------------------------------------


class WebhookClientConfig(KubeStruct):
    """How the API server reaches a webhook."""

    ca_bundle: bytes = b""


class Webhook(KubeStruct):
    """One webhook of a configuration."""

    name: str
    client_config: WebhookClientConfig = WebhookClientConfig()


class MutatingWebhookConfiguration(LabelledObject):
    """`admissionregistration.k8s.io/v1`."""

    webhooks: tuple[Webhook, ...] = ()
