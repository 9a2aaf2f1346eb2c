"""Agents, partial: there may be ten thousand, so only what is read of their workloads is kept."""

import msgspec

from kagenti_operator.contract import KAGENTI, VARIABLE_PREFIX
from kagenti_operator.kube.objects.models import KubeObject, KubeStruct, ObjectMeta, share, share_fields
from kagenti_operator.kube.objects.workloads import EnvVar, RolloutStatus, is_rolled_out


class AgentAnnotations(KubeStruct):
    """The one annotation of an agent's workload that is read."""

    inject: str | None = msgspec.field(default=None, name=KAGENTI.mlflow_annotation("inject"))

    def __post_init__(self) -> None:
        share_fields(self, "inject")


class AgentMeta(ObjectMeta):
    """Metadata of an agent's workload."""

    generation: int = 0
    annotations: AgentAnnotations = AgentAnnotations()


class InjectedAnnotations(KubeStruct):
    """What an earlier reconcile wrote on the pod template."""

    experiment_id: str | None = msgspec.field(default=None, name=KAGENTI.mlflow_annotation("experiment-id"))
    experiment_name: str | None = msgspec.field(
        default=None, name=KAGENTI.mlflow_annotation("experiment-name")
    )
    tracking_uri: str | None = msgspec.field(default=None, name=KAGENTI.mlflow_annotation("tracking-uri"))
    tracking_auth: str | None = msgspec.field(default=None, name=KAGENTI.mlflow_annotation("tracking-auth"))
    left_out: str | None = msgspec.field(default=None, name=KAGENTI.mlflow_annotation("left-out"))

    def __post_init__(self) -> None:
        share_fields(self, "experiment_id", "experiment_name", "tracking_uri", "tracking_auth", "left_out")


class TemplateAnnotations(InjectedAnnotations):
    """The annotations of an agent's pod template that are read: the operator's, and the user's one."""

    inject: str | None = msgspec.field(default=None, name=KAGENTI.mlflow_annotation("inject"))

    def __post_init__(self) -> None:
        super().__post_init__()
        share_fields(self, "inject")


class AgentTemplateMeta(KubeStruct):
    """Metadata of an agent's pod template."""

    annotations: TemplateAnnotations = TemplateAnnotations()


class AgentContainer(KubeStruct):
    """A container of an agent; of its environment only the `MLFLOW_*` variables are kept."""

    name: str
    env: tuple[EnvVar, ...] | None = None

    def __post_init__(self) -> None:
        if self.env:
            kept = tuple(share(var) for var in self.env if var.name.startswith(VARIABLE_PREFIX))
            msgspec.structs.force_setattr(self, "env", kept or None)
        share_fields(self, "name")


class AgentPodSpec(KubeStruct):
    """Spec of an agent's pod template."""

    service_account_name: str | None = None
    # Deprecated. The API server copies it for its own kinds, but nobody does in a Sandbox.
    service_account: str | None = None
    containers: tuple[AgentContainer, ...] = ()


class AgentPodTemplate(KubeStruct):
    """An agent's pod template."""

    metadata: AgentTemplateMeta = AgentTemplateMeta()
    spec: AgentPodSpec = AgentPodSpec()


class AgentWorkloadSpec(KubeStruct):
    """Spec of a Deployment or StatefulSet that is an agent."""

    replicas: int = 1
    template: AgentPodTemplate = AgentPodTemplate()


class AgentWorkload(KubeObject):
    """A Deployment or StatefulSet labelled as an agent."""

    metadata: AgentMeta
    spec: AgentWorkloadSpec = AgentWorkloadSpec()
    status: RolloutStatus = RolloutStatus()

    @property
    def template(self) -> AgentPodTemplate:
        """The pod template, wherever the kind keeps it."""
        return self.spec.template

    @property
    def is_rolled_out(self) -> bool:
        """Whether every replica runs the current template."""
        wanted = self.spec.replicas
        return wanted == 0 or is_rolled_out(self.metadata.generation, wanted, self.status)


class AgentSandboxSpec(KubeStruct):
    """Spec of a `Sandbox`."""

    pod_template: AgentPodTemplate = AgentPodTemplate()


class AgentSandbox(KubeObject):
    """`agents.x-k8s.io` Sandbox labelled as an agent."""

    metadata: AgentMeta
    spec: AgentSandboxSpec = AgentSandboxSpec()

    @property
    def template(self) -> AgentPodTemplate:
        """The pod template, wherever the kind keeps it."""
        return self.spec.pod_template

    @property
    def is_rolled_out(self) -> bool:
        """A Sandbox does not replace its running pod when its template changes."""
        return True


type Agent = AgentWorkload | AgentSandbox
