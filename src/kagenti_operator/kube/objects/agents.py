"""Agents, partial: there may be ten thousand, so only what is read of their workloads is kept."""

import re

import msgspec

from kagenti_operator.contract import (
    AGENT_VARIABLES,
    CREDENTIAL_VARIABLES,
    INSECURE_VARIABLE,
    KAGENTI,
    SERVICE_ACCOUNT_FOLDER,
)
from kagenti_operator.kube.objects.models import (
    LONGEST_TEXT,
    KubeObject,
    KubeStruct,
    ObjectMeta,
    bound_fields,
    shorten,
)
from kagenti_operator.kube.objects.workloads import EnvVar, RolloutStatus, VolumeMount, is_rolled_out

MOST_CONTAINERS = 100
# Of those that refer to ours.
MOST_REFERENCES = 64
# A company's list of what needs no proxy is long, and read.
LONGEST_NO_PROXY = 16_384
# By these a client finds out whether it goes by a proxy.
PROXY_VARIABLES = ("https_proxy", "http_proxy", "all_proxy", "no_proxy")
_READ = frozenset((*AGENT_VARIABLES, *CREDENTIAL_VARIABLES, INSECURE_VARIABLE)) | {
    spelling for name in PROXY_VARIABLES for spelling in (name, name.upper())
}
# `$$(NAME)` is no reference.
_REFERENCE = re.compile(r"(?<!\$)(?:\$\$)*(\$\((?:" + "|".join(AGENT_VARIABLES) + r")\))")


def _read_of(var: EnvVar) -> EnvVar | None:
    """What is kept of a variable: the whole of those that are read, of others only references to ours."""
    if var.name in _READ:
        longest = LONGEST_NO_PROXY if var.name.lower() == "no_proxy" else LONGEST_TEXT
        return EnvVar(name=var.name, value=var.value and shorten(var.value, longest))
    found: list[str] = _REFERENCE.findall(var.value) if var.value and "$(MLFLOW_" in var.value else []
    return EnvVar(name=shorten(var.name), value="".join(dict.fromkeys(found))) if found else None


def _keep(env: tuple[EnvVar, ...]) -> tuple[EnvVar, ...]:
    """What is read of an environment: of a variable that is there many times its first and its last value."""
    kept: list[EnvVar] = []
    seen: dict[str, list[int]] = {}
    references = 0
    for read in filter(None, map(_read_of, env)):
        if read.name not in _READ:
            references += 1
            if references <= MOST_REFERENCES:
                kept.append(read)
            continue
        places = seen.setdefault(read.name, [])
        if len(places) == 2:
            kept[places[1]] = read
        else:
            places.append(len(kept))
            kept.append(read)
    return tuple(kept)


class AgentAnnotations(KubeStruct):
    """The one annotation of an agent's workload that is read."""

    inject: str | None = msgspec.field(default=None, name=KAGENTI.mlflow_annotation("inject"))

    def __post_init__(self) -> None:
        bound_fields(self, "inject")


class AgentMeta(ObjectMeta):
    """Metadata of an agent's workload."""

    generation: int = 0
    annotations: AgentAnnotations = AgentAnnotations()


class AgentIdentity(KubeObject):
    """A workload of which no more is read: its body may be one that nobody can decode."""

    metadata: AgentMeta


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
        bound_fields(self, "experiment_id", "experiment_name", "tracking_uri", "tracking_auth", "left_out")


class TemplateAnnotations(InjectedAnnotations):
    """The annotations of an agent's pod template that are read: the operator's, and the user's one."""

    inject: str | None = msgspec.field(default=None, name=KAGENTI.mlflow_annotation("inject"))

    def __post_init__(self) -> None:
        super().__post_init__()
        bound_fields(self, "inject")


class AgentTemplateMeta(KubeStruct):
    """Metadata of an agent's pod template."""

    annotations: TemplateAnnotations = TemplateAnnotations()


class AgentContainer(KubeStruct):
    """A container of an agent, with the variables that are read, and a mount of a token of its own."""

    name: str
    env: tuple[EnvVar, ...] | None = None
    volume_mounts: tuple[VolumeMount, ...] | None = None

    def __post_init__(self) -> None:
        if self.env:
            msgspec.structs.force_setattr(self, "env", _keep(self.env) or None)
        if self.volume_mounts:
            mounts = tuple(
                mount
                for mount in self.volume_mounts
                if mount.mount_path.rstrip("/") == SERVICE_ACCOUNT_FOLDER
            )[:1]
            msgspec.structs.force_setattr(self, "volume_mounts", mounts or None)
        bound_fields(self, "name")

    @property
    def variables(self) -> dict[str, str | None]:
        """The environment by name, as far as it is read; None where a value comes from elsewhere."""
        return {var.name: var.value for var in self.env or ()}


class AgentPodSpec(KubeStruct):
    """Spec of an agent's pod template."""

    service_account_name: str | None = None
    # Deprecated. The API server copies it for its own kinds, but nobody does in a Sandbox.
    service_account: str | None = None
    automount_service_account_token: bool | None = None
    containers: tuple[AgentContainer, ...] = ()

    def __post_init__(self) -> None:
        if len(self.containers) > MOST_CONTAINERS:
            # No node runs that many, and each costs memory: the object is reported, and no agent.
            raise ValueError(f"more than {MOST_CONTAINERS} containers")
        bound_fields(self, "service_account_name", "service_account")


class AgentPodTemplate(KubeStruct):
    """An agent's pod template."""

    metadata: AgentTemplateMeta = AgentTemplateMeta()
    spec: AgentPodSpec = AgentPodSpec()


class PartitionedUpdate(KubeStruct):
    """Of a StatefulSet: pods with a lower ordinal keep their template."""

    partition: int = 0


class UpdateStrategy(KubeStruct):
    """How a StatefulSet replaces pods."""

    type: str = ""
    rolling_update: PartitionedUpdate | None = None


class AgentWorkloadSpec(KubeStruct):
    """Spec of a Deployment or StatefulSet that is an agent."""

    replicas: int = 1
    paused: bool = False
    update_strategy: UpdateStrategy | None = None
    template: AgentPodTemplate = AgentPodTemplate()


class AgentCondition(KubeStruct):
    """A condition of a Deployment."""

    type: str
    status: str = ""
    message: str = ""

    def __post_init__(self) -> None:
        bound_fields(self, "message")


class AgentStatus(RolloutStatus):
    """How far a rollout is; of the conditions only that pods cannot be made, as by a quota, is kept."""

    conditions: tuple[AgentCondition, ...] | None = None

    def __post_init__(self) -> None:
        found = tuple(c for c in self.conditions or () if (c.type, c.status) == ("ReplicaFailure", "True"))
        msgspec.structs.force_setattr(self, "conditions", found[:1] or None)


class AgentWorkload(KubeObject):
    """A Deployment or StatefulSet labelled as an agent."""

    metadata: AgentMeta
    spec: AgentWorkloadSpec = AgentWorkloadSpec()
    status: AgentStatus = AgentStatus()

    @property
    def template(self) -> AgentPodTemplate:
        """The pod template, wherever the kind keeps it."""
        return self.spec.template

    @property
    def is_rolled_out(self) -> bool:
        """Whether every replica runs the current template."""
        wanted = self.spec.replicas
        return wanted == 0 or is_rolled_out(self.metadata.generation, wanted, self.status)

    @property
    def held_back(self) -> str | None:
        """What keeps a new template from running pods: `paused`, `OnDelete`, `partition`, or nothing."""
        strategy = self.spec.update_strategy
        if self.spec.paused:
            return "paused"
        if strategy and strategy.type == "OnDelete":
            return "OnDelete"
        return "partition" if self.partition else None

    @property
    def partition(self) -> int:
        """How many of the first pods of a StatefulSet keep their template."""
        strategy = self.spec.update_strategy
        return strategy.rolling_update.partition if strategy and strategy.rolling_update else 0

    @property
    def is_rolling(self) -> bool:
        """Whether pods are still being replaced, other than those that wait for somebody to act."""
        if self.is_rolled_out or self.held_back in ("paused", "OnDelete"):
            return False
        if not self.partition:
            return True
        wanted = max(self.spec.replicas - self.partition, 0)
        seen = self.status.observed_generation >= self.metadata.generation
        return wanted > 0 and not (seen and self.status.updated_replicas >= wanted)

    @property
    def has_pods(self) -> bool:
        """Whether any pod is wanted."""
        return self.spec.replicas > 0

    @property
    def failure(self) -> str | None:
        """Why pods cannot be made, in the API server's words."""
        return self.status.conditions[0].message if self.status.conditions else None


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

    held_back = None
    failure = None
    is_rolling = False
    # Whether there is one is not known, and one that runs does not have the new template.
    has_pods = False


type Agent = AgentWorkload | AgentSandbox
