"""Every name, key, annotation, port and default that other software relies on, each once.

The sections are those of docs/contract.md. This module imports nothing of the project: it is the bottom
floor.
"""

from dataclasses import dataclass
from typing import Literal

# --- 0. Names ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Names:
    """The names that follow the platform's name, which is the prefix of all of them.

    `operator`: the operator's own Deployment and ClusterRole, where its chart was given a name for them.
    """

    prefix: str
    operator: str = ""

    @property
    def domain(self) -> str:
        """The domain of the platform's labels and annotations."""
        return f"{self.prefix}.io"

    @property
    def agent_selector(self) -> str:
        """The label selector of agents."""
        return f"{self.domain}/type=agent"

    @property
    def namespace(self) -> str:
        """The platform's namespace, unless another is configured."""
        return f"{self.prefix}-system"

    @property
    def manager(self) -> str:
        """The field manager, the managed-by label's value, and the reporting controller of Events."""
        return f"{self.prefix}-operator"

    @property
    def managed_labels(self) -> dict[str, str]:
        """The labels of every object that the operator writes."""
        return {MANAGED_BY_LABEL: self.manager}

    @property
    def default_experiment(self) -> str:
        """The collector's experiment, unless another is configured."""
        return f"{self.prefix}-traces"

    @property
    def ui_config(self) -> str:
        """The ConfigMap of the platform's user interface."""
        return f"{self.prefix}-ui-config"

    @property
    def console_link(self) -> str:
        """The ConsoleLink to MLflow."""
        return f"{self.prefix}-mlflow"

    @property
    def deployment(self) -> str:
        """The operator's Deployment and ClusterRole, as its chart names them."""
        return self.operator or f"{self.prefix}-controller-manager"

    @property
    def mlflow_client(self) -> str:
        """The ServiceAccount that MLflow is asked as, in the operator's namespace, as the chart names it."""
        return f"{self.operator or self.prefix}-mlflow-client"

    @property
    def console_link_role(self) -> str:
        """The ClusterRole that permits the ConsoleLink, as the chart names it."""
        return f"{self.deployment}-console-link"

    @property
    def lease(self) -> str:
        """The Lease of the leader election."""
        return f"b7c4ae34.{self.prefix}.dev"

    @property
    def config_hash_annotation(self) -> str:
        """On the collector's ConfigMap and pod template: sha256 of the configuration."""
        return f"{self.domain}/otel-config-hash"

    @property
    def ca_hash_annotation(self) -> str:
        """On the collector's pod template: sha256 of the certificates that it mounts."""
        return f"{self.domain}/otel-ca-hash"

    @property
    def token_annotation(self) -> str:
        """On the collector's pod template: when it was last rolled for a new token."""
        return f"{self.domain}/otel-token-renewed-at"

    def key(self, name: str) -> str:
        """A label or annotation of the platform, such as `kagenti.io/inject`."""
        return f"{self.domain}/{name}"

    def prefixed(self, name: str) -> str:
        """An object or label that begins with the platform's name, such as `kagenti-feature-gates`."""
        return f"{self.prefix}-{name}"

    @property
    def webhook_name(self) -> str:
        """The webhook in its configuration."""
        return f"inject.{self.domain}"

    @property
    def webhook_configuration(self) -> str:
        """The MutatingWebhookConfiguration, as the chart names it."""
        return f"{self.deployment}-webhook"

    @property
    def webhook_service(self) -> str:
        """The Service of the webhook, as the chart names it."""
        return f"{self.deployment}-webhook-service"

    @property
    def webhook_secret(self) -> str:
        """The Secret with the webhook's certificate, as the chart names it."""
        return f"{self.operator or f'{self.prefix}-operator'}-webhook-server-cert"

    def mlflow_annotation(self, name: str) -> str:
        """An annotation of agents and of their Roles."""
        return f"mlflow.{self.domain}/{name}"

    def agent_role(self, workload: str) -> str:
        """The Role and RoleBinding of an agent."""
        return f"{self.prefix}-mlflow-{workload}"

    def workload_of_role(self, role: str) -> str | None:
        """The agent that a Role of that name belongs to, None where it is no agent's."""
        prefix = self.agent_role("")
        return role.removeprefix(prefix) if role.startswith(prefix) else None


KAGENTI = Names("kagenti")
ROSSOCTL = Names("rossoctl")
PLATFORMS = {names.prefix: names for names in (KAGENTI, ROSSOCTL)}

# What agents carry on the platforms that exist; those of OpenShift AI's dashboard have the last two.
KNOWN_AGENT_SELECTORS = (
    *(names.agent_selector for names in PLATFORMS.values()),
    "openshell.ai/managed-by=openshell",
    "opendatahub.io/agent-type=agent",
)

MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"

# --- 1. Objects read --------------------------------------------------------------------------------------

MLFLOW = "mlflow"
MLFLOW_NAMESPACE = "redhat-ods-applications"
SERVICE_NAME_LABEL = "kubernetes.io/service-name"
INTEGRATION_ROLE = "mlflow-operator-mlflow-integration"
EDIT_ROLE = "mlflow-operator-mlflow-edit"
OPENSHIFT_GROUP = "config.openshift.io"
INGRESS_CERTIFICATE = "default-ingress-cert"
INGRESS_CERTIFICATE_NAMESPACE = "openshift-config-managed"
ROOT_CA = "kube-root-ca.crt"
ROOT_CA_KEY = "ca.crt"
ROOT_CA_NAMESPACE = "openshift-config"
CA_BUNDLE_KEY = "ca-bundle.crt"
PHOENIX = "phoenix"

# --- 2.1 MLflow operand -----------------------------------------------------------------------------------

OPERAND_STORAGE = "10Gi"
OPERAND_BACKEND_STORE = "sqlite:////mlflow/mlflow.db"
OPERAND_ARTIFACTS = "file:///mlflow/artifacts"

# --- 2.2 Collector access ---------------------------------------------------------------------------------

COLLECTOR = "otel-collector"
COLLECTOR_BINDING = "otel-collector-mlflow"

# --- 2.3 Collector configuration --------------------------------------------------------------------------

COLLECTOR_CONFIG = "otel-collector-config"
COLLECTOR_CONFIG_KEY = "base.yaml"
COLLECTOR_EXTRA = "otel-collector-extra"
CONTROLLER_MANAGER = "controller-manager"
SERVICE_CA = "openshift-service-ca.crt"
SERVICE_CA_KEY = "service-ca.crt"
SERVICE_ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
SERVICE_CA_FILE = f"{SERVICE_ACCOUNT_FOLDER}/service-ca.crt"
# With these in its environment the collector is an OAuth client of the platform's own MLflow.
OAUTH_CLIENT_VARIABLE = "MLFLOW_CLIENT_ID"
OAUTH_CLIENT_SECRET = "mlflow-oauth-secret"
OTLP_TRACES_PATH = "/v1/traces"
WORKSPACE_HEADER = "x-mlflow-workspace"
EXPERIMENT_HEADER = "x-mlflow-experiment-id"

# --- 2.4 Experiment ---------------------------------------------------------------------------------------

EXPERIMENTS_PATH = "/api/2.0/mlflow/experiments"

# --- 2.5 Ingress CA ---------------------------------------------------------------------------------------

INGRESS_CA = "otel-ingress-ca"

# --- 2.6 Agents -------------------------------------------------------------------------------------------

MLFLOW_RBAC_GROUP = "mlflow.kubeflow.org"
EXPERIMENTS = "experiments"
AGENT_VERBS = ("get", "update")
TRACKING_AUTH = "kubernetes-namespaced"
# In any case, on the workload or on its pod template; the first of each is what people are advised to write.
OPT_OUT_WORDS = ("disabled", "false", "off", "no")
OPT_IN_WORDS = ("enabled", "true")
# Which of MLflow's addresses agents are given.
type AgentsAddress = Literal["auto", "gateway", "service"]
AGENTS_ADDRESSES: tuple[AgentsAddress, ...] = ("auto", "gateway", "service")
URI_VARIABLE = "MLFLOW_TRACKING_URI"
AUTH_VARIABLE = "MLFLOW_TRACKING_AUTH"
ID_VARIABLE = "MLFLOW_EXPERIMENT_ID"
NAME_VARIABLE = "MLFLOW_EXPERIMENT_NAME"
WORKSPACE_VARIABLE = "MLFLOW_WORKSPACE"
CERTIFICATE_VARIABLE = "MLFLOW_TRACKING_SERVER_CERT_PATH"
# With one of these the client shows it to the server, whatever MLFLOW_TRACKING_AUTH says.
CREDENTIAL_VARIABLES = ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
INSECURE_VARIABLE = "MLFLOW_TRACKING_INSECURE_TLS"
AGENT_VARIABLES = (
    URI_VARIABLE,
    AUTH_VARIABLE,
    ID_VARIABLE,
    NAME_VARIABLE,
    WORKSPACE_VARIABLE,
    CERTIFICATE_VARIABLE,
)
DASHBOARD_KEY = "MLFLOW_DASHBOARD_URL"

# --- 3. Command line --------------------------------------------------------------------------------------

METRICS_ADDRESS = ":8080"
PROBES_ADDRESS = ":8081"
POLL_SECONDS = 300.0
MAX_CONCURRENT_ROLLOUTS = 32

# --- 4. What people grep for ------------------------------------------------------------------------------

LOG_CRD_DETECTED = "MLflow CRD detected, discovering MLflow CR"
LOG_CR_AVAILABLE = "Found available MLflow CR"
LOG_EXPERIMENT = "Created/found MLflow experiment"
LOG_BOOTSTRAP_COMPLETE = "OTel collector bootstrap complete"

# --- 6. AuthBridge ----------------------------------------------------------------------------------------

WEBHOOK_PORT = 9443
WEBHOOK_PATH = "/mutate-workloads-authbridge"
# Labels, by `Names.key`.
TYPE_LABEL = "type"
AGENT_TYPE = "agent"
TOOL_TYPE = "tool"
INJECT_LABEL = "inject"
INJECT_DISABLED = "disabled"
ENVOY_INJECT_LABEL = "envoy-proxy-inject"
SPIFFE_INJECT_LABEL = "spiffe-helper-inject"
# On what admission wrote, with this value.
AUTHBRIDGE_MANAGED_LABEL = "managed-by"
AUTHBRIDGE_MANAGED = "webhook"
# On a namespace's `authbridge-config` that was filled in: "true".
AUTHBRIDGE_DEFAULTS_LABEL = "defaults"
# Annotations, by `Names.key`.
AUTHBRIDGE_MODE_ANNOTATION = "authbridge-mode"
CREDENTIALS_ANNOTATION = "keycloak-client-credentials-secret-name"
INBOUND_EXCLUDE_ANNOTATION = "inbound-ports-exclude"
OUTBOUND_EXCLUDE_ANNOTATION = "outbound-ports-exclude"
AUTHBRIDGE_HASH_ANNOTATION = "config-hash"
# By `Names.prefixed`: the label of namespaces, two ConfigMaps, the field manager, the beginning of Secrets.
ENABLED_LABEL = "enabled"
FEATURE_GATES = "feature-gates"
FEATURE_GATES_KEY = "feature-gates.yaml"
PLATFORM_CONFIG = "platform-config"
AUTHBRIDGE_MANAGER = "webhook"
CLIENT_CREDENTIALS = "keycloak-client-credentials"
# ConfigMaps of an agent's namespace.
AUTHBRIDGE_CONFIG = "authbridge-config"
AUTHBRIDGE_RUNTIME_CONFIG = "authbridge-runtime-config"
AUTHPROXY_ROUTES = "authproxy-routes"
SPIFFE_HELPER_CONFIG = "spiffe-helper-config"
ENVOY_CONFIG = "envoy-config"
# The key of `platform-config`, of `authbridge-runtime-config`, and of a workload's own file.
CONFIG_KEY = "config.yaml"
ENVOY_CONFIG_KEY = "envoy.yaml"
# The two files of a workload: ConfigMaps.
WORKLOAD_CONFIG_PREFIX = "authbridge-config-"
WORKLOAD_ENVOY_PREFIX = "envoy-config-"
# Keys of `authbridge-config`.
KEYCLOAK_URL_KEY = "KEYCLOAK_URL"
KEYCLOAK_REALM_KEY = "KEYCLOAK_REALM"
ISSUER_KEY = "ISSUER"
CLIENT_AUTH_KEY = "CLIENT_AUTH_TYPE"
JWT_AUDIENCE_KEY = "JWT_AUDIENCE"
OUTBOUND_POLICY_KEY = "DEFAULT_OUTBOUND_POLICY"
FEDERATED_JWT = "federated-jwt"
CLIENT_SECRET_AUTH = "client-secret"
# Plugins of the sidecar, and what it may be to Keycloak.
JWT_VALIDATION = "jwt-validation"
TOKEN_EXCHANGE = "token-exchange"
SPIFFE_IDENTITY = "spiffe"
OUTBOUND_POLICIES = ("passthrough", "exchange")
# Of a workload's Secret with credentials.
CLIENT_ID_FILE = "client-id.txt"
CLIENT_SECRET_FILE = "client-secret.txt"
# Containers and volumes of an injected pod.
SIDECAR = "authbridge-proxy"
ENVOY_SIDECAR = "envoy-proxy"
PROXY_INIT = "proxy-init"
SPIFFE_DRIVER = "csi.spiffe.io"
TLS_BRIDGE_FOLDER = "/etc/authbridge/tls-bridge-ca"
LOOPBACK = "127.0.0.1"
# Ports that the sidecar itself listens on, beside the two that are chosen for each pod.
TRANSPARENT_PORT = 8082
TRANSPARENT_INBOUND_PORT = 8083
HEALTH_PORT = 9091
STATS_PORT = 9093
EXT_PROC_PORT = 9090
SESSION_PORT = 9094
RESERVED_PORTS = (TRANSPARENT_PORT, TRANSPARENT_INBOUND_PORT, HEALTH_PORT, STATS_PORT, SESSION_PORT)
# What keeps a namespace's `authbridge-config` filled in, and the RoleBinding to OpenShift's constraints.
KEYCLOAK_NAMESPACE = "keycloak"
KEYCLOAK_SERVICE = "keycloak-service"
# Keys `username` and `password` of the administrator, as Keycloak's own operator makes it.
KEYCLOAK_ADMIN_SECRET = "keycloak-initial-admin"
KEYCLOAK_PORT = 8080
KEYCLOAK_NAMESPACE_KEY = "KEYCLOAK_NAMESPACE"
SPIFFE_ALIAS_KEY = "SPIFFE_IDP_ALIAS"
CREDENTIAL_TIMEOUT_KEY = "CREDENTIAL_WAIT_TIMEOUT"
EXPECTED_AUDIENCE_KEY = "EXPECTED_AUDIENCE"
SPIFFE_ALIAS = "spire-spiffe"
CREDENTIAL_TIMEOUT = "120s"
SCC_BINDING = "agent-authbridge-scc"
SCC_ROLE_PREFIX = "system:openshift:scc:"
KUBERNETES_NAMESPACES = ("kube-system", "kube-public", "kube-node-lease")
# On a Sandbox's pod template: the operator suspended it, and has not resumed it.
AUTHBRIDGE_RESUME_ANNOTATION = "resume"
# On a workload's file: which hash all of its pods have.
AUTHBRIDGE_PODS_ANNOTATION = "pods-config-hash"
TLS_BRIDGE_ISSUER = "authbridge-tls-bridge-selfsigned"
TLS_BRIDGE_SUFFIX = "-tls-bridge-ca"
