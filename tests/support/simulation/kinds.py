"""The kinds that the model API server knows, and label selectors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kagenti_operator.kube import resources
from kagenti_operator.kube.resources import Resource


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind. `crd`: it is served only while its CustomResourceDefinition exists."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    crd: bool = False

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def crd_name(self) -> str:
        return f"{self.plural}.{self.group}"


def _of(resource: Resource[Any], *, namespaced: bool | None = None, crd: bool = False) -> Kind:
    scope = resource.namespaced if namespaced is None else namespaced
    return Kind(resource.group, resource.version, resource.plural, resource.kind, scope, crd)


NAMESPACES = Kind("", "v1", "namespaces", "Namespace", namespaced=False)
CONFIG_MAPS = _of(resources.CONFIG_MAPS)
SERVICES = _of(resources.SERVICES)
SERVICE_ACCOUNTS = _of(resources.SERVICE_ACCOUNTS)
EVENTS = _of(resources.EVENTS)
LEASES = Kind("coordination.k8s.io", "v1", "leases", "Lease")
ENDPOINT_SLICES = _of(resources.ENDPOINT_SLICES)
DEPLOYMENTS = _of(resources.DEPLOYMENTS)
STATEFUL_SETS = _of(resources.AGENT_STATEFUL_SETS)
CLUSTER_ROLES = _of(resources.CLUSTER_ROLES)
ROLES = _of(resources.ROLES)
ROLE_BINDINGS = _of(resources.ROLE_BINDINGS)
CRDS = _of(resources.CUSTOM_RESOURCE_DEFINITIONS)
DATA_SCIENCE_CLUSTERS = _of(resources.DATA_SCIENCE_CLUSTERS, crd=True)
MLFLOWS = _of(resources.MLFLOWS, namespaced=False, crd=True)
SANDBOXES = _of(resources.AGENT_SANDBOXES, crd=True)
CONSOLE_LINKS = _of(resources.CONSOLE_LINKS, crd=True)
CLUSTER_VERSIONS = Kind("config.openshift.io", "v1", "clusterversions", "ClusterVersion", False, True)

KINDS = (
    NAMESPACES,
    CONFIG_MAPS,
    SERVICES,
    SERVICE_ACCOUNTS,
    EVENTS,
    LEASES,
    ENDPOINT_SLICES,
    DEPLOYMENTS,
    STATEFUL_SETS,
    CLUSTER_ROLES,
    ROLES,
    ROLE_BINDINGS,
    CRDS,
    DATA_SCIENCE_CLUSTERS,
    MLFLOWS,
    SANDBOXES,
    CONSOLE_LINKS,
    CLUSTER_VERSIONS,
)
WORKLOADS = (DEPLOYMENTS, STATEFUL_SETS, SANDBOXES)
BY_PATH = {(kind.group, kind.version, kind.plural): kind for kind in KINDS}
BY_NAME = {kind.kind: kind for kind in KINDS}
GROUPS = {kind.group for kind in KINDS}


@dataclass(frozen=True, slots=True)
class Selector:
    """What a list or watch selects; labels only by equality and presence, as the operator selects."""

    namespace: str = ""
    name: str = ""
    labels: tuple[tuple[str, str | None], ...] = ()

    def matches(self, obj: Mapping[str, Any]) -> bool:
        meta: Mapping[str, Any] = obj["metadata"]
        if self.namespace and meta.get("namespace") != self.namespace:
            return False
        if self.name and meta["name"] != self.name:
            return False
        labels: Mapping[str, str] = meta.get("labels") or {}
        return all(key in labels and value in (None, labels[key]) for key, value in self.labels)


def parse_selector(namespace: str, query: Mapping[str, str]) -> Selector:
    """Raises ValueError for what is not modelled."""
    name = ""
    if field_selector := query.get("fieldSelector"):
        field, _, name = field_selector.partition("=")
        if field != "metadata.name":
            raise ValueError(f"field selector {field_selector}")
    labels: list[tuple[str, str | None]] = []
    for part in filter(None, query.get("labelSelector", "").split(",")):
        key, equal, value = part.partition("=")
        if not key or key.endswith("!") or " " in key:
            raise ValueError(f"label selector {part}")
        labels.append((key, value.removeprefix("=") if equal else None))
    return Selector(namespace, name, tuple(labels))
