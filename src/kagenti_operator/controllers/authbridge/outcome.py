"""What becomes of a pod."""

from dataclasses import dataclass

from kagenti_operator.controllers.authbridge.inputs import Pod


@dataclass(frozen=True)
class Unchanged:
    """It is admitted as it is."""

    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refused:
    """It is not admitted. `message`: a sentence that names the object and the key, and what to do."""

    message: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Injected:
    """It is admitted as `pod`.

    `config`: the file of the workload, key `config.yaml` of ConfigMap `authbridge-config-<workload>`; None
    where the pod has its sidecar already, so that the file that is there stays. `envoy_config`: key
    `envoy.yaml` of ConfigMap `envoy-config-<workload>`, None where the pod has no need of it.
    `service_account`: one to make where it is not there, None where the pod keeps its own.
    `credentials_secret`: the Secret with the client's credentials that the pod waits for.
    `tls_bridge_secret`: the Secret with the CA of the TLS bridge that the pod waits for.
    `restart_hash`: changes with everything that only a new pod takes over; a pipeline is not in it.
    """

    pod: Pod
    config: str | None = None
    envoy_config: str | None = None
    service_account: str | None = None
    credentials_secret: str | None = None
    tls_bridge_secret: str | None = None
    restart_hash: str = ""
    warnings: tuple[str, ...] = ()


type Outcome = Unchanged | Refused | Injected
