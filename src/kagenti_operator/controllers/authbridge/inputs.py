"""What decides about a pod, beside the pod itself, the gates and the platform's configuration."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kagenti_operator.contract import COLLECTOR, Names

# As the API server sends it. Nothing of it is ever changed in place.
type Pod = Mapping[str, Any]


class Refusal(ValueError):
    """A pod cannot run protected; the message is a sentence that names the object and the key to mend."""


@dataclass(frozen=True, kw_only=True)
class NamespaceConfig:
    """What an agent's namespace says.

    `namespace`: its name. `config`: the data of ConfigMap `authbridge-config`, empty where there is none.
    `base`: key `config.yaml` of ConfigMap `authbridge-runtime-config`, None where there is none.
    """

    namespace: str
    config: Mapping[str, str] = field(default_factory=dict[str, str])
    base: str | None = None


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the cluster and the operator's switches say.

    `has_spiffe_driver`: CSIDriver `csi.spiffe.io` exists. `client_registration`: the operator registers
    clients with Keycloak and makes the Secrets with their credentials. `platform_namespace`: where the
    collector's Service is.
    """

    names: Names
    is_openshift: bool = False
    has_spiffe_driver: bool = False
    client_registration: bool = False
    collector_service: str = COLLECTOR
    platform_namespace: str = ""
