"""Resources that only the platform's stand-ins read, and the fields of them that they read."""

from collections.abc import Mapping
from typing import Any

from kagenti_operator.contract import Names
from kagenti_operator.kube.objects.models import (
    DataScienceCluster,
    KubeObject,
    KubeStruct,
    LabelledMeta,
    LabelledObject,
    ObjectMeta,
)
from kagenti_operator.kube.resources import RBAC, Resource


class GenerationMeta(ObjectMeta, frozen=True):
    """Metadata with the number that grows with every change of the spec."""

    generation: int = 0


class FinalizedMeta(ObjectMeta, frozen=True):
    """Metadata with what an object waits for before it goes."""

    finalizers: tuple[str, ...] = ()


class FinalizedCluster(DataScienceCluster, frozen=True):
    """A DataScienceCluster, seen from who finalizes it."""

    metadata: FinalizedMeta


class MLflowInstance(KubeObject, frozen=True):
    """An MLflow CR with all that the MLflow operator reads of it."""

    metadata: GenerationMeta
    spec: Mapping[str, Any] = {}
    status: Mapping[str, Any] = {}


class ServerSpec(KubeStruct, frozen=True):
    """Spec of a Deployment."""

    replicas: int = 1


class ServerStatus(KubeStruct, frozen=True):
    """Status of a Deployment."""

    observed_generation: int = 0
    ready_replicas: int = 0


class Server(KubeObject, frozen=True):
    """A Deployment, seen from who waits for it."""

    metadata: GenerationMeta
    spec: ServerSpec = ServerSpec()
    status: ServerStatus = ServerStatus()


class JobCondition(KubeStruct, frozen=True):
    """A condition of a Job."""

    type: str
    status: str = "Unknown"
    message: str = ""


class JobStatus(KubeStruct, frozen=True):
    """Status of a Job."""

    succeeded: int = 0
    conditions: tuple[JobCondition, ...] | None = None


class Job(KubeObject, frozen=True):
    """A Job, seen from who waits for it."""

    metadata: LabelledMeta
    status: JobStatus = JobStatus()

    @property
    def failure(self) -> str | None:
        """Why it failed for good, None where it did not."""
        failed = (c for c in self.status.conditions or () if c.type == "Failed" and c.status == "True")
        return next((c.message or "its pods failed" for c in failed), None)


class TargetReference(KubeStruct, frozen=True):
    """Which workload an AgentRuntime is about."""

    api_version: str
    kind: str
    name: str


class AgentRuntimeSpec(KubeStruct, frozen=True):
    """What a workload is, and which."""

    type: str
    target_ref: TargetReference


class AgentRuntime(KubeObject, frozen=True):
    """What people make to have a workload taken for an agent."""

    spec: AgentRuntimeSpec


def agent_runtimes(names: Names) -> Resource[AgentRuntime]:
    """The platform's AgentRuntimes."""
    return Resource(f"agent.{names.prefix}.dev", "v1alpha1", "agentruntimes", "AgentRuntime", AgentRuntime)


CLUSTER_ROLE_BINDINGS = Resource(
    RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", KubeObject, namespaced=False
)
FINALIZED_CLUSTERS = Resource(
    "datasciencecluster.opendatahub.io",
    "v2",
    "datascienceclusters",
    "DataScienceCluster",
    FinalizedCluster,
    namespaced=False,
)
JOBS = Resource("batch", "v1", "jobs", "Job", Job)
MLFLOW_INSTANCES = Resource("mlflow.opendatahub.io", "v1", "mlflows", "MLflow", MLflowInstance)
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", KubeObject, namespaced=False)
PERSISTENT_VOLUME_CLAIMS = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", KubeObject)
SECRETS = Resource("", "v1", "secrets", "Secret", LabelledObject)
SERVERS = Resource("apps", "v1", "deployments", "Deployment", Server)
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount", LabelledObject)
SERVICES = Resource("", "v1", "services", "Service", LabelledObject)
LABELLED_WORKLOADS = (
    Resource("apps", "v1", "deployments", "Deployment", LabelledObject),
    Resource("apps", "v1", "statefulsets", "StatefulSet", LabelledObject),
)
