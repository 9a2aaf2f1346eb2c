"""Resources that only the platform's stand-ins read, and the fields of them that they read."""

from collections.abc import Mapping
from typing import Any

from kagenti_operator.kube.objects.models import KubeObject, KubeStruct, LabelledObject, ObjectMeta
from kagenti_operator.kube.resources import RBAC, Resource


class GenerationMeta(ObjectMeta, frozen=True):
    """Metadata with the number that grows with every change of the spec."""

    generation: int = 0


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


CLUSTER_ROLE_BINDINGS = Resource(
    RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", KubeObject, namespaced=False
)
MLFLOW_INSTANCES = Resource("mlflow.opendatahub.io", "v1", "mlflows", "MLflow", MLflowInstance)
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", KubeObject, namespaced=False)
PERSISTENT_VOLUME_CLAIMS = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", KubeObject)
SECRETS = Resource("", "v1", "secrets", "Secret", LabelledObject)
SERVERS = Resource("apps", "v1", "deployments", "Deployment", Server)
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount", LabelledObject)
SERVICES = Resource("", "v1", "services", "Service", LabelledObject)
