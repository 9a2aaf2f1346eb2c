"""What the node reads of pods: partial typed objects, as in `kube.models`."""

import msgspec

from kagenti_operator.kube.objects.models import KubeObject, KubeStruct, ObjectMeta
from kagenti_operator.kube.resources import Resource

# --- where values come from ----------------------------------------------------------------------------


class KeySelector(KubeStruct, frozen=True):
    """One key of a ConfigMap or Secret."""

    key: str
    name: str = ""
    optional: bool = False


class FieldRef(KubeStruct, frozen=True):
    """A field of the pod, such as `metadata.name`."""

    field_path: str


class EnvSource(KubeStruct, frozen=True):
    """Where the value of an environment variable comes from."""

    field_ref: FieldRef | None = None
    config_map_key_ref: KeySelector | None = None
    secret_key_ref: KeySelector | None = None


class EnvVar(KubeStruct, frozen=True):
    """One environment variable."""

    name: str
    value: str = ""
    value_from: EnvSource | None = None


class NameRef(KubeStruct, frozen=True):
    """An object of the same namespace that may be missing if it is optional."""

    name: str = ""
    optional: bool = False


class EnvFrom(KubeStruct, frozen=True):
    """All keys of an object as environment variables."""

    prefix: str = ""
    config_map_ref: NameRef | None = None
    secret_ref: NameRef | None = None


# --- volumes -------------------------------------------------------------------------------------------


class KeyToPath(KubeStruct, frozen=True):
    """Which key becomes which file."""

    key: str
    path: str
    mode: int | None = None


class ConfigMapSource(KubeStruct, frozen=True):
    """Files from a ConfigMap, or, in a projected volume, from a Secret."""

    name: str = ""
    items: tuple[KeyToPath, ...] | None = None
    default_mode: int | None = None
    optional: bool = False


class SecretSource(KubeStruct, frozen=True):
    """Files from a Secret."""

    secret_name: str = ""
    items: tuple[KeyToPath, ...] | None = None
    default_mode: int | None = None
    optional: bool = False


class DownwardFile(KubeStruct, frozen=True):
    """A field of the pod as a file."""

    path: str
    field_ref: FieldRef | None = None
    mode: int | None = None


class DownwardSource(KubeStruct, frozen=True):
    """Fields of the pod as files."""

    items: tuple[DownwardFile, ...] | None = None
    default_mode: int | None = None


class TokenSource(KubeStruct, frozen=True):
    """A token of the pod's ServiceAccount; `expiration_seconds` is what is asked for."""

    path: str
    audience: str = ""
    expiration_seconds: int = 3600


class Projection(KubeStruct, frozen=True):
    """One part of a projected volume."""

    config_map: ConfigMapSource | None = None
    secret: ConfigMapSource | None = None
    downward_api: DownwardSource | None = msgspec.field(name="downwardAPI", default=None)
    service_account_token: TokenSource | None = None


class ProjectedSource(KubeStruct, frozen=True):
    """Files from several places in one directory."""

    sources: tuple[Projection, ...] | None = None
    default_mode: int | None = None


class EmptyDirSource(KubeStruct, frozen=True):
    """A directory that lives as long as the pod."""


class ClaimSource(KubeStruct, frozen=True):
    """A directory that outlives the pod."""

    claim_name: str
    read_only: bool = False


class HostPathSource(KubeStruct, frozen=True):
    """A directory of the machine."""

    path: str


class Volume(KubeStruct, frozen=True):
    """A pod's volume; kinds that the cluster does not know leave all of these None."""

    name: str
    config_map: ConfigMapSource | None = None
    secret: SecretSource | None = None
    downward_api: DownwardSource | None = msgspec.field(name="downwardAPI", default=None)
    projected: ProjectedSource | None = None
    empty_dir: EmptyDirSource | None = None
    persistent_volume_claim: ClaimSource | None = None
    host_path: HostPathSource | None = None


class VolumeMount(KubeStruct, frozen=True):
    """Where a container sees a volume."""

    name: str
    mount_path: str
    sub_path: str = ""
    sub_path_expr: str = ""
    read_only: bool = False


# --- containers ----------------------------------------------------------------------------------------


class HttpHeader(KubeStruct, frozen=True):
    """A header of an HTTP probe."""

    name: str
    value: str


class HttpGet(KubeStruct, frozen=True):
    """An HTTP probe; `port` may be the name of a container port."""

    port: int | str
    path: str = "/"
    host: str = ""
    scheme: str = "HTTP"
    http_headers: tuple[HttpHeader, ...] | None = None


class TcpSocket(KubeStruct, frozen=True):
    """A probe that only connects."""

    port: int | str
    host: str = ""


class ExecAction(KubeStruct, frozen=True):
    """A command run inside the container."""

    command: tuple[str, ...] = ()


class Probe(KubeStruct, frozen=True):
    """How and how often to ask; times in seconds, defaults as the API server sets them."""

    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    exec: ExecAction | None = None
    initial_delay_seconds: int = 0
    timeout_seconds: int = 1
    period_seconds: int = 10
    success_threshold: int = 1
    failure_threshold: int = 3


class ContainerPort(KubeStruct, frozen=True):
    """A named port."""

    container_port: int
    name: str = ""
    protocol: str = "TCP"


class Container(KubeStruct, frozen=True):
    """A container or init container of a pod."""

    name: str
    image: str = ""
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    working_dir: str = ""
    env: tuple[EnvVar, ...] | None = None
    env_from: tuple[EnvFrom, ...] | None = None
    ports: tuple[ContainerPort, ...] | None = None
    volume_mounts: tuple[VolumeMount, ...] | None = None
    startup_probe: Probe | None = None
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None
    # Only on init containers: "Always" makes it a sidecar.
    restart_policy: str = ""

    def port_number(self, port: int | str) -> int | None:
        """The number of a port given by number or name; None for a name that is not declared."""
        if isinstance(port, int):
            return port
        if port.isdigit():
            return int(port)
        return next((p.container_port for p in self.ports or () if p.name == port), None)


class PodSpec(KubeStruct, frozen=True):
    """What a pod asks for."""

    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] | None = None
    volumes: tuple[Volume, ...] | None = None
    node_name: str = ""
    node_selector: dict[str, str] | None = None
    service_account_name: str = "default"
    restart_policy: str = "Always"
    termination_grace_period_seconds: int = 30
    hostname: str = ""
    subdomain: str = ""
    scheduling_gates: tuple[dict[str, str], ...] | None = None


class PodCondition(KubeStruct, frozen=True):
    """A condition, with the time of its last change."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None


class PodStatus(KubeStruct, frozen=True):
    """The part of the status that outlives the node's memory."""

    phase: str = ""
    conditions: tuple[PodCondition, ...] | None = None


class PodMeta(ObjectMeta, frozen=True):
    """Metadata of a pod."""

    labels: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    annotations: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    deletion_grace_period_seconds: int | None = None
    creation_timestamp: str = ""


class Pod(KubeObject, frozen=True):
    """Core Pod."""

    metadata: PodMeta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


PODS = Resource("", "v1", "pods", "Pod", Pod)
