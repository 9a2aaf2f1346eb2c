"""Workloads and pods, partial: those of which there are few."""

import msgspec

from kagenti_operator.kube.objects.models import (
    KubeObject,
    KubeStruct,
    LabelledMeta,
    LabelledObject,
    bound_fields,
)


class EnvVar(KubeStruct):
    """An environment variable; `value` is None where it comes from elsewhere."""

    name: str
    value: str | None = None


class SecretSource(KubeStruct):
    """A Secret whose keys become variables."""

    name: str = ""


class EnvFrom(KubeStruct):
    """A source of variables; of the kinds only Secrets are read."""

    secret_ref: SecretSource | None = None


class VolumeMount(KubeStruct):
    """Where a container sees a volume."""

    name: str
    mount_path: str

    def __post_init__(self) -> None:
        bound_fields(self, "name", "mount_path")


class Resources(KubeStruct):
    """What a container may take."""

    limits: dict[str, str] | None = None


class Container(KubeStruct):
    """A container of a pod template."""

    name: str
    image: str = ""
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    env: tuple[EnvVar, ...] | None = None
    env_from: tuple[EnvFrom, ...] | None = None
    volume_mounts: tuple[VolumeMount, ...] | None = None
    resources: Resources | None = None


class TokenProjection(KubeStruct):
    """A ServiceAccount token in a projected volume."""

    path: str
    # The API server fills it in.
    expiration_seconds: int = 3600


class VolumeProjection(KubeStruct):
    """One source of a projected volume; of the kinds only tokens are read."""

    service_account_token: TokenProjection | None = None


class ProjectedVolume(KubeStruct):
    """Files from several sources."""

    sources: tuple[VolumeProjection, ...] | None = None


class Volume(KubeStruct):
    """A volume of a pod template; of the kinds only projected ones are read."""

    name: str
    projected: ProjectedVolume | None = None


class PodSpec(KubeStruct):
    """Spec of a pod template."""

    service_account_name: str | None = None
    containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] | None = None


class TemplateMeta(KubeStruct):
    """Metadata of a pod template."""

    annotations: dict[str, str] = msgspec.field(default_factory=dict[str, str])


class PodTemplate(KubeStruct):
    """A pod template."""

    metadata: TemplateMeta | None = None
    spec: PodSpec = PodSpec()

    @property
    def annotations(self) -> dict[str, str]:
        """The template's annotations, empty where it has no metadata."""
        return self.metadata.annotations if self.metadata else {}


class RolloutStatus(KubeStruct):
    """How far a rollout is."""

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    available_replicas: int = 0


def is_rolled_out(generation: int, wanted: int, status: RolloutStatus) -> bool:
    """Whether every replica of a workload runs its current template.

    Not as long as a pod of an older one is left: it counts as available in place of a new one that crashes.
    """
    seen = status.observed_generation >= generation
    only_new = wanted <= status.updated_replicas >= status.replicas
    return seen and only_new and status.available_replicas >= wanted


class WorkloadMeta(LabelledMeta):
    """Metadata of a Deployment."""

    generation: int = 0


class WorkloadSpec(KubeStruct):
    """Spec of a Deployment."""

    replicas: int = 1
    template: PodTemplate = PodTemplate()


class Workload(LabelledObject):
    """A Deployment of which there are few, and how far its rollout is: the collector, the operator itself."""

    metadata: WorkloadMeta
    spec: WorkloadSpec = WorkloadSpec()
    status: RolloutStatus = RolloutStatus()

    @property
    def is_rolled_out(self) -> bool:
        """Whether every replica runs the current template."""
        return is_rolled_out(self.metadata.generation, self.spec.replicas, self.status)


# --- what `kagenti-operator check` looks at ---------------------------------------------------------------


class PodStatus(KubeStruct):
    """How far a pod has come, and where it is reached."""

    phase: str = ""
    pod_ip: str | None = msgspec.field(default=None, name="podIP")


class Pod(KubeObject):
    """A pod of the operator."""

    status: PodStatus = PodStatus()
