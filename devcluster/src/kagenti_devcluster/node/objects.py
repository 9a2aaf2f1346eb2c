"""What the node reads of the objects that pods use: partial typed objects, as in `kube.models`."""

import msgspec

from kagenti_operator.kube.objects.models import KubeObject, KubeStruct, LabelledObject
from kagenti_operator.kube.resources import Resource


class FullConfigMap(KubeObject, frozen=True):
    """Core ConfigMap with all of its content."""

    data: dict[str, str] | None = None
    binary_data: dict[str, bytes] | None = None

    @property
    def content(self) -> dict[str, bytes]:
        """Key to bytes, text and binary alike."""
        texts = {key: value.encode() for key, value in (self.data or {}).items()}
        return {**texts, **(self.binary_data or {})}


class Secret(KubeObject, frozen=True):
    """Core Secret; base64 is undone by decoding."""

    data: dict[str, bytes] | None = None

    @property
    def content(self) -> dict[str, bytes]:
        """Key to bytes."""
        return self.data or {}


class ClaimSpec(KubeStruct, frozen=True):
    """What a claim asks for."""

    access_modes: tuple[str, ...] | None = None
    resources: dict[str, dict[str, str]] | None = None


class ClaimStatus(KubeStruct, frozen=True):
    """Whether a claim is bound."""

    phase: str = ""


class Claim(KubeObject, frozen=True):
    """Core PersistentVolumeClaim."""

    spec: ClaimSpec = ClaimSpec()
    status: ClaimStatus = ClaimStatus()


class ServicePort(KubeStruct, frozen=True):
    """A port of a Service; a slice's port of the same name says where it leads."""

    port: int
    name: str = ""
    protocol: str = "TCP"


class ServiceSpec(KubeStruct, frozen=True):
    """How a Service is reached."""

    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    ports: tuple[ServicePort, ...] | None = None
    publish_not_ready_addresses: bool = False


class Service(KubeObject, frozen=True):
    """Core Service."""

    spec: ServiceSpec = ServiceSpec()


class SliceConditions(KubeStruct, frozen=True):
    """Whether an endpoint takes traffic; unknown means yes (discovery.k8s.io/v1)."""

    ready: bool | None = None
    serving: bool | None = None


class SliceEndpoint(KubeStruct, frozen=True):
    """One backend."""

    addresses: tuple[str, ...] = ()
    conditions: SliceConditions | None = None
    hostname: str = ""

    @property
    def ready(self) -> bool:
        """Whether it takes traffic."""
        return self.conditions is None or self.conditions.ready is not False


class SlicePort(KubeStruct, frozen=True):
    """Where a Service's port of the same name leads."""

    name: str = ""
    port: int | None = None
    protocol: str = "TCP"


class Slice(LabelledObject, frozen=True):
    """`discovery.k8s.io/v1` EndpointSlice."""

    endpoints: tuple[SliceEndpoint, ...] | None = None
    ports: tuple[SlicePort, ...] | None = None


NODES = Resource("", "v1", "nodes", "Node", KubeObject, namespaced=False)
SECRETS = Resource("", "v1", "secrets", "Secret", Secret)
FULL_CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap", FullConfigMap)
CLAIMS = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", Claim)
FULL_SERVICES = Resource("", "v1", "services", "Service", Service)
SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", Slice)
