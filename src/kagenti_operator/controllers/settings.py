"""What the command line decides."""

from dataclasses import dataclass
from pathlib import Path

from kagenti_operator import contract
from kagenti_operator.contract import Names
from kagenti_operator.runtime.telemetry.listener import BindAddress

_WEBHOOK_ADDRESS = BindAddress("", contract.WEBHOOK_PORT)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How this operator was started.

    `namespace`: the platform's, where collector and Phoenix are; `own_namespace`: the operator's.
    """

    names: Names = contract.KAGENTI
    namespace: str = contract.KAGENTI.namespace
    own_namespace: str = contract.KAGENTI.namespace
    # Label selectors of agents beside the platform's label.
    agent_selectors: tuple[str, ...] = ()
    lease: str = contract.KAGENTI.lease
    enable_mlflow: bool = False
    enable_otel_bootstrap: bool = False
    enable_console_link: bool = False
    enable_authbridge: bool = False
    enable_client_registration: bool = False
    # Folder with tls.crt and tls.key for the webhook, where somebody else makes and announces them.
    webhook_cert_path: Path | None = None
    webhook_address: BindAddress = _WEBHOOK_ADDRESS
    # Off where people bring an MLflow CR of their own: ours would be there before it.
    mlflow_create_operand: bool = True
    mlflow_workspace: str | None = None
    mlflow_experiment_name: str = contract.KAGENTI.default_experiment
    mlflow_ca_file: Path | None = None
    # Whether the collector may send its token to an MLflow whose address is http://.
    mlflow_allow_http: bool = False
    agents_mlflow_address: contract.AgentsAddress = "auto"
    # How often MLflow, which cannot be watched, is asked whether an experiment was renamed or deleted.
    mlflow_poll_seconds: float = contract.POLL_SECONDS
    # Agents whose environment changes are rolled, at most so many at once.
    max_concurrent_rolls: int = contract.MAX_CONCURRENT_ROLLOUTS
    # What a namespace's `authbridge-config` is filled in with. Without a public address no issuer is made up.
    keycloak_namespace: str = contract.KEYCLOAK_NAMESPACE
    keycloak_public_url: str = ""
    keycloak_realm: str = contract.KAGENTI.prefix
    # The operator's own Keycloak where it is no Service of that namespace, and what clients may be made in.
    keycloak_url: str = ""
    keycloak_further_realms: tuple[str, ...] = ()
    keycloak_ca_file: Path | None = None
    # The SecurityContextConstraints that pods with a sidecar may use on OpenShift; empty: none.
    authbridge_scc: str = ""

    @property
    def keycloak_address(self) -> str:
        """Keycloak, as pods and the operator reach it."""
        service = f"{contract.KEYCLOAK_SERVICE}.{self.keycloak_namespace}.svc:{contract.KEYCLOAK_PORT}"
        return self.keycloak_url or f"http://{service}"

    @property
    def keycloak_realms(self) -> tuple[str, ...]:
        """The realms in which clients may be made, the default one first."""
        return tuple(dict.fromkeys((self.keycloak_realm, *self.keycloak_further_realms)))
