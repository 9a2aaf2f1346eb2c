"""The injected containers in mode envoy-sidecar: section 6.8."""

from collections.abc import Iterator, Mapping
from typing import Any

from kagenti_operator.contract import (
    AUTHBRIDGE_CONFIG,
    CLIENT_ID_FILE,
    CLIENT_SECRET_FILE,
    ENVOY_SIDECAR,
    EXT_PROC_PORT,
    HEALTH_PORT,
    INBOUND_EXCLUDE_ANNOTATION,
    ISSUER_KEY,
    KEYCLOAK_REALM_KEY,
    KEYCLOAK_URL_KEY,
    OUTBOUND_EXCLUDE_ANNOTATION,
    OUTBOUND_POLICY_KEY,
    SESSION_PORT,
    STATS_PORT,
)
from kagenti_operator.controllers.authbridge.inputs import Refusal
from kagenti_operator.controllers.authbridge.observed import Observed
from kagenti_operator.controllers.authbridge.pod import Container, all_containers, field_env
from kagenti_operator.controllers.authbridge.port_lists import join_ports
from kagenti_operator.controllers.authbridge.ports import tcp_ports
from kagenti_operator.controllers.authbridge.sidecar import (
    annotated_ports,
    build_init,
    build_proxy,
    identity_variables,
)
from kagenti_operator.controllers.authbridge.volumes import SHARED_FOLDER

_KEYS = (
    KEYCLOAK_URL_KEY,
    KEYCLOAK_REALM_KEY,
    "TOKEN_URL",
    ISSUER_KEY,
    "EXPECTED_AUDIENCE",
    "TARGET_AUDIENCE",
    "TARGET_SCOPES",
    OUTBOUND_POLICY_KEY,
)
_KEYCLOAK_PORT = 8080


def build_envoy(observed: Observed) -> Container:
    """The sidecar that is Envoy, with AuthBridge beside it in the same container."""
    proxy = observed.platform.proxy
    ports = {
        "envoy-outbound": proxy.port,
        "envoy-inbound": proxy.inbound_proxy_port,
        "envoy-admin": proxy.admin_port,
        "ext-proc": EXT_PROC_PORT,
    }
    variables = {
        **dict(_config_variables(observed)),
        "CLIENT_ID_FILE": {"value": f"{SHARED_FOLDER}/{CLIENT_ID_FILE}"},
        "CLIENT_SECRET_FILE": {"value": f"{SHARED_FOLDER}/{CLIENT_SECRET_FILE}"},
        "ROUTES_CONFIG_PATH": {"value": "/etc/authproxy/routes.yaml"},
        **identity_variables(observed),
    }
    return build_proxy(
        observed,
        name=ENVOY_SIDECAR,
        image=observed.image("envoyProxy", observed.platform.images.envoy_proxy),
        resources=observed.platform.resources.envoy_proxy,
        ports=[{"name": name, "containerPort": port} for name, port in ports.items()],
        env=variables,
    )


def build_redirect(observed: Observed) -> tuple[Container, tuple[str, ...]]:
    """The init container that leads all calls, in and out, to Envoy; and warnings."""
    proxy = observed.platform.proxy
    outbound, wrong_outbound = annotated_ports(observed, OUTBOUND_EXCLUDE_ANNOTATION)
    inbound, wrong_inbound = annotated_ports(observed, INBOUND_EXCLUDE_ANNOTATION)
    variables: dict[str, Mapping[str, Any]] = {
        "PROXY_PORT": {"value": str(proxy.port)},
        "INBOUND_PROXY_PORT": {"value": str(proxy.inbound_proxy_port)},
        "PROXY_UID": {"value": str(proxy.uid)},
        "POD_IP": field_env("status.podIP"),
        "OUTBOUND_PORTS_EXCLUDE": {"value": join_ports((_KEYCLOAK_PORT, *outbound))},
    }
    if inbound:
        variables["INBOUND_PORTS_EXCLUDE"] = {"value": join_ports(inbound)}
    return build_init(observed, variables), (*wrong_outbound, *wrong_inbound)


def check_ports(observed: Observed) -> None:
    """Raises Refusal where a port of the pod is one that Envoy or AuthBridge listens on."""
    proxy = observed.platform.proxy
    own = {proxy.port, proxy.inbound_proxy_port, proxy.admin_port, EXT_PROC_PORT}
    taken = own | {HEALTH_PORT, STATS_PORT, SESSION_PORT}
    for container in all_containers(observed.pod):
        for port in tcp_ports(container):
            if port["containerPort"] in taken:
                listed = ", ".join(map(str, sorted(taken)))
                raise Refusal(
                    f"container {container['name']} has containerPort {port['containerPort']}, which the "
                    f"sidecar needs itself: choose another one than {listed}"
                )


def _config_variables(observed: Observed) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What it takes of the namespace's ConfigMap: references to its keys, or by a gate their values."""
    config = observed.namespace.config
    if not config.get(ISSUER_KEY):
        raise Refusal(
            f"ConfigMap {AUTHBRIDGE_CONFIG} in namespace {observed.namespace.namespace} lacks {ISSUER_KEY}, "
            f"without which mode envoy-sidecar does not start"
        )
    for key in _KEYS:
        if not observed.gates.per_workload_config_resolution:
            optional = {} if key == ISSUER_KEY else {"optional": True}
            yield key, {"valueFrom": {"configMapKeyRef": {"name": AUTHBRIDGE_CONFIG, "key": key, **optional}}}
        elif config.get(key):
            yield key, {"value": config[key]}
