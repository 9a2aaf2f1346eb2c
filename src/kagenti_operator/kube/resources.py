"""The Kubernetes resources that the operator reads and writes, and their request paths."""

from dataclasses import dataclass, replace

from kagenti_operator.contract import Names
from kagenti_operator.kube.objects import agents as agent_models
from kagenti_operator.kube.objects import certificates as certificate_models
from kagenti_operator.kube.objects import models
from kagenti_operator.kube.objects import rbac as rbac_models
from kagenti_operator.kube.objects import workloads as workload_models
from kagenti_operator.kube.objects.models import KubeObject
from kagenti_operator.kube.objects.naming import model_for


@dataclass(frozen=True, slots=True)
class Resource[T: KubeObject]:
    """One kind at one API version, and the partial model that its objects are decoded into."""

    group: str
    version: str
    plural: str
    kind: str
    model: type[T]
    namespaced: bool = True
    # Asks the server for PartialObjectMetadata: a CustomResourceDefinition's schema can be a megabyte.
    metadata_only: bool = False
    # For clusters that do not serve `version` yet; newest first, and one model must fit all.
    older_versions: tuple[str, ...] = ()

    @property
    def versions(self) -> "tuple[Resource[T], ...]":
        """This resource at each version that a cluster may serve, newest first."""
        return (self, *(replace(self, version=older, older_versions=()) for older in self.older_versions))

    @property
    def api_version(self) -> str:
        """`group/version`, or `version` in the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def is_custom(self) -> bool:
        """Whether a CustomResourceDefinition serves it, whose conversion webhook may be dead."""
        return "." in self.group and not self.group.endswith(".k8s.io")

    @property
    def crd_name(self) -> str:
        """The name of the CustomResourceDefinition that would serve this resource."""
        return f"{self.plural}.{self.group}"

    def for_names(self, names: Names) -> "Resource[T]":
        """This resource with the annotations of that platform."""
        return replace(self, model=model_for(self.model, names.domain))

    def path(
        self, namespace: str | None = None, name: str | None = None, subresource: str | None = None
    ) -> str:
        """The request path; without a namespace it is the collection over all namespaces."""
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)


RBAC = "rbac.authorization.k8s.io"

CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap", models.ConfigMap)
# With who owns which field.
SHARED_CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap", models.SharedConfigMap)
WORKLOAD_FILES = Resource("", "v1", "configmaps", "ConfigMap", models.WorkloadFile)
SECRETS = Resource("", "v1", "secrets", "Secret", models.Secret)
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", KubeObject, namespaced=False)
PODS = Resource("", "v1", "pods", "Pod", workload_models.Pod)
EVENTS = Resource("events.k8s.io", "v1", "events", "Event", KubeObject)
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount", KubeObject)
SERVICES = Resource("", "v1", "services", "Service", KubeObject)
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", models.EndpointSlice)
# Only to know which there are.
STATEFUL_SET_NAMES = Resource("apps", "v1", "statefulsets", "StatefulSet", KubeObject, metadata_only=True)
# Only to know whose they are.
REPLICA_SETS = Resource("apps", "v1", "replicasets", "ReplicaSet", models.LabelledObject, metadata_only=True)
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", workload_models.Workload)
CLUSTER_ROLES = Resource(RBAC, "v1", "clusterroles", "ClusterRole", KubeObject, namespaced=False)
ROLES = Resource(RBAC, "v1", "roles", "Role", rbac_models.Role)
ROLE_BINDINGS = Resource(RBAC, "v1", "rolebindings", "RoleBinding", rbac_models.RoleBinding)
DATA_SCIENCE_CLUSTERS = Resource(
    "datasciencecluster.opendatahub.io",
    "v2",
    "datascienceclusters",
    "DataScienceCluster",
    models.DataScienceCluster,
    namespaced=False,
)
# Listed over all namespaces, which is the same path for both scopes; discovery tells the scope for writing.
MLFLOWS = Resource("mlflow.opendatahub.io", "v1", "mlflows", "MLflow", models.MLflow)
CONSOLE_LINKS = Resource(
    "console.openshift.io", "v1", "consolelinks", "ConsoleLink", models.ConsoleLink, namespaced=False
)
CUSTOM_RESOURCE_DEFINITIONS = Resource(
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    KubeObject,
    namespaced=False,
    metadata_only=True,
)
MUTATING_WEBHOOK_CONFIGURATIONS = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "mutatingwebhookconfigurations",
    "MutatingWebhookConfiguration",
    models.MutatingWebhookConfiguration,
    namespaced=False,
)
CSI_DRIVERS = Resource("storage.k8s.io", "v1", "csidrivers", "CSIDriver", KubeObject, namespaced=False)
CERTIFICATES = Resource(
    "cert-manager.io", "v1", "certificates", "Certificate", certificate_models.Certificate
)
ISSUERS = Resource("cert-manager.io", "v1", "issuers", "Issuer", certificate_models.Issuer)
AGENT_DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", agent_models.AgentWorkload)
AGENT_STATEFUL_SETS = Resource("apps", "v1", "statefulsets", "StatefulSet", agent_models.AgentWorkload)
# agent-sandbox serves v1alpha1 up to 0.4, both in 0.5, and v1beta1 only since 1.0.
AGENT_SANDBOXES = Resource(
    "agents.x-k8s.io",
    "v1beta1",
    "sandboxes",
    "Sandbox",
    agent_models.AgentSandbox,
    older_versions=("v1alpha1",),
)
SANDBOX_NAMES = replace(AGENT_SANDBOXES, model=KubeObject, metadata_only=True)
