"""What the command line decides, and the names that the contract fixes."""

from dataclasses import dataclass
from pathlib import Path

MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGER = "kagenti-operator"
MANAGED_LABELS = {MANAGED_BY_LABEL: MANAGER}

AGENT_SELECTOR = "kagenti.io/type=agent"
MLFLOW_NAME = "mlflow"
MLFLOW_NAMESPACE = "redhat-ods-applications"
DATA_SCIENCE_CLUSTER = "default-dsc"

COLLECTOR = "otel-collector"
COLLECTOR_CONFIG = "otel-collector-config"
COLLECTOR_CONFIG_KEY = "base.yaml"
COLLECTOR_BINDING = "otel-collector-mlflow"
CONFIG_HASH_ANNOTATION = "kagenti.io/otel-config-hash"
CA_HASH_ANNOTATION = "kagenti.io/otel-ca-hash"
TOKEN_ANNOTATION = "kagenti.io/otel-token-renewed-at"

INTEGRATION_ROLE = "mlflow-operator-mlflow-integration"
EDIT_ROLE = "mlflow-operator-mlflow-edit"

INGRESS_CA = "otel-ingress-ca"
CA_BUNDLE_KEY = "ca-bundle.crt"
SERVICE_CA = "openshift-service-ca.crt"
SERVICE_CA_KEY = "service-ca.crt"

PHOENIX = "phoenix"
UI_CONFIG = "kagenti-ui-config"
CONSOLE_LINK = "kagenti-mlflow"
# The chart's, from which the operator has its permissions; what it writes goes with them.
OPERATOR_CLUSTER_ROLE = "kagenti-controller-manager"
CONSOLE_LINK_ROLE = "kagenti-controller-manager-console-link"
OPERATOR_DEPLOYMENTS = ("kagenti-controller-manager", "controller-manager")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How this operator was started; `namespace` is the platform's and the operator's own."""

    namespace: str = "kagenti-system"
    enable_mlflow: bool = False
    enable_otel_bootstrap: bool = False
    enable_console_link: bool = False
    mlflow_workspace: str | None = None
    mlflow_experiment_name: str = "kagenti-traces"
    mlflow_ca_file: Path | None = None
    # How often MLflow, which cannot be watched, is asked whether an experiment was renamed or deleted.
    mlflow_poll_seconds: float = 300.0
    # Agents whose environment changes are rolled, at most so many at once.
    max_concurrent_rolls: int = 32
