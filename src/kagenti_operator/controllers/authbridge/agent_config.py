"""The file of a workload's sidecar, key `config.yaml` of ConfigMap `authbridge-config-<workload>`: 6.5."""

from collections.abc import Mapping
from typing import Any

from kagenti_operator.contract import (
    AUTHBRIDGE_CONFIG,
    CLIENT_AUTH_KEY,
    FEDERATED_JWT,
    ISSUER_KEY,
    JWT_AUDIENCE_KEY,
    KEYCLOAK_REALM_KEY,
    KEYCLOAK_URL_KEY,
    OUTBOUND_POLICY_KEY,
)
from kagenti_operator.controllers.authbridge.inputs import NamespaceConfig, Refusal
from kagenti_operator.controllers.authbridge.ports import Ports


def build_pipeline(namespace: NamespaceConfig) -> dict[str, Any]:
    """The pipeline of a namespace that has none of its own. Raises Refusal for what is missing."""
    required = (ISSUER_KEY, KEYCLOAK_URL_KEY, KEYCLOAK_REALM_KEY, CLIENT_AUTH_KEY)
    if missing := [key for key in required if not namespace.config.get(key)]:
        raise Refusal(
            f"ConfigMap {AUTHBRIDGE_CONFIG} in namespace {namespace.namespace} lacks {', '.join(missing)}: "
            f"without it the sidecar does not start"
        )
    issuer, url, realm, _ = (namespace.config[key] for key in required)
    policy = namespace.config.get(OUTBOUND_POLICY_KEY)
    keycloak = {"keycloak_url": url, "keycloak_realm": realm}
    exchange = {
        **keycloak,
        **({"default_policy": policy} if policy else {}),
        "identity": _identity(namespace.config),
    }
    return {
        "inbound": {"plugins": [{"name": "jwt-validation", "config": {"issuer": issuer, **keycloak}}]},
        "outbound": {"plugins": [{"name": "token-exchange", "config": exchange}]},
    }


def _identity(config: Mapping[str, str]) -> dict[str, str]:
    if config[CLIENT_AUTH_KEY] != FEDERATED_JWT:
        return {"type": config[CLIENT_AUTH_KEY]}
    if not (audience := config.get(JWT_AUDIENCE_KEY)):
        raise Refusal(f"ConfigMap {AUTHBRIDGE_CONFIG} lacks {JWT_AUDIENCE_KEY}, which {FEDERATED_JWT} needs")
    return {"type": "spiffe", "jwt_audience": audience}


def listener_keys(ports: Ports) -> dict[str, str]:
    """Where the sidecar listens, and where the agent does."""
    return {
        "reverse_proxy_addr": f":{ports.agent}",
        "reverse_proxy_backend": f"http://127.0.0.1:{ports.moved}",
        "forward_proxy_addr": f":{ports.forward}",
    }
