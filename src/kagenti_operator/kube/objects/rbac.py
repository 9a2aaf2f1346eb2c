"""Roles and RoleBindings, partial: there are as many as agents."""

import msgspec

from kagenti_operator.contract import KAGENTI, MANAGED_BY_LABEL
from kagenti_operator.kube.objects.models import (
    KubeObject,
    KubeStruct,
    ObjectMeta,
    OwnerReference,
    bound_fields,
)


class RbacLabels(KubeStruct):
    """The one label of a Role or RoleBinding that is read."""

    managed_by: str | None = msgspec.field(default=None, name=MANAGED_BY_LABEL)


class RbacAnnotations(KubeStruct):
    """What is recorded: on an agent's Role its experiment and MLflow, on the collector's binding its own."""

    experiment_id: str | None = msgspec.field(default=None, name=KAGENTI.mlflow_annotation("experiment-id"))
    experiment_creation_time: str | None = msgspec.field(
        default=None, name=KAGENTI.mlflow_annotation("experiment-creation-time")
    )
    mlflow_uid: str | None = msgspec.field(default=None, name=KAGENTI.mlflow_annotation("mlflow-uid"))
    collector_experiments: str | None = msgspec.field(
        default=None, name=KAGENTI.mlflow_annotation("collector-experiments")
    )

    def __post_init__(self) -> None:
        bound_fields(self, "experiment_id", "experiment_creation_time", "mlflow_uid", "collector_experiments")


class RbacMeta(ObjectMeta):
    """Metadata of a Role or RoleBinding: each agent has one of both."""

    labels: RbacLabels = RbacLabels()
    annotations: RbacAnnotations = RbacAnnotations()
    owner_references: tuple[OwnerReference, ...] = ()

    def __post_init__(self) -> None:
        bound_fields(self, "name", "owner_references")


class RbacObject(KubeObject):
    """A Role or a RoleBinding."""

    metadata: RbacMeta


class RoleRef(KubeStruct):
    """What a RoleBinding grants; immutable in the API."""

    kind: str
    name: str
    api_group: str = "rbac.authorization.k8s.io"

    def __post_init__(self) -> None:
        bound_fields(self, "kind", "name", "api_group")


class Subject(KubeStruct):
    """Whom a RoleBinding grants to."""

    kind: str
    name: str
    namespace: str | None = None
    api_group: str | None = None

    def __post_init__(self) -> None:
        bound_fields(self, "kind", "name", "namespace", "api_group")


class RoleBinding(RbacObject):
    """`rbac.authorization.k8s.io/v1`."""

    role_ref: RoleRef
    subjects: tuple[Subject, ...] | None = None

    def __post_init__(self) -> None:
        bound_fields(self, "subjects")


class PolicyRule(KubeStruct):
    """One rule of a Role."""

    api_groups: tuple[str, ...] | None = None
    resources: tuple[str, ...] | None = None
    resource_names: tuple[str, ...] | None = None
    verbs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        bound_fields(self, "api_groups", "resources", "resource_names", "verbs")


class Role(RbacObject):
    """`rbac.authorization.k8s.io/v1`."""

    rules: tuple[PolicyRule, ...] | None = None

    def __post_init__(self) -> None:
        if self.rules is None:
            # The API server has null where none were written.
            msgspec.structs.force_setattr(self, "rules", ())
        bound_fields(self, "rules")

    @property
    def resource_names(self) -> tuple[str, ...]:
        """What it grants by name."""
        return tuple(name for rule in self.rules or () for name in rule.resource_names or ())
