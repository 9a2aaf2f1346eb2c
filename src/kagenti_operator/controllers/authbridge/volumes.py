"""The volumes of an injected pod, and where its sidecar has them: section 6.6."""

from collections.abc import Mapping, Sequence
from typing import Any

from kagenti_operator.contract import (
    AUTHBRIDGE_RUNTIME_CONFIG,
    AUTHPROXY_ROUTES,
    ENVOY_CONFIG,
    SPIFFE_DRIVER,
    SPIFFE_HELPER_CONFIG,
    TLS_BRIDGE_FOLDER,
)
from kagenti_operator.controllers.authbridge.agent_container import CA_VOLUME
from kagenti_operator.controllers.authbridge.inputs import Refusal
from kagenti_operator.controllers.authbridge.observed import Observed
from kagenti_operator.controllers.authbridge.pod import list_at, mapping_at

SHARED = "shared-data"
SHARED_FOLDER = "/shared"
_SOCKET = "spire-agent-socket"
_SVIDS = "svid-output"
_BRIDGE = "tls-bridge-ca"
_READ_BY_ALL = 0o444

type Volume = Mapping[str, Any]


def build_volumes(observed: Observed) -> list[Volume]:
    """The volumes of a pod."""
    envoy = observed.settings.mode == "envoy-sidecar"
    volumes: list[Volume] = [
        {"name": SHARED, "emptyDir": {}},
        _config_map(AUTHBRIDGE_RUNTIME_CONFIG, observed.config_map),
        _config_map(AUTHPROXY_ROUTES, AUTHPROXY_ROUTES, optional=True),
        _config_map(ENVOY_CONFIG, observed.envoy_config_map)
        if envoy
        else _config_map(ENVOY_CONFIG, ENVOY_CONFIG, optional=True),
    ]
    if observed.settings.spire:
        volumes += [
            {"name": _SOCKET, "csi": {"driver": SPIFFE_DRIVER, "readOnly": True}},
            {"name": _SVIDS, "emptyDir": {}},
            # The sidecar has its identity from SPIRE itself: most namespaces do not have this one any longer.
            _config_map(SPIFFE_HELPER_CONFIG, SPIFFE_HELPER_CONFIG, optional=True),
        ]
    if observed.settings.tls_bridge:
        secret = observed.tls_bridge_secret
        ca = {"secretName": secret, "items": [{"key": "ca.crt", "path": "ca.crt"}]}
        volumes += [
            {"name": _BRIDGE, "secret": {"secretName": secret, "defaultMode": _READ_BY_ALL}},
            {"name": CA_VOLUME, "secret": ca},
        ]
    return volumes


def check_volumes(observed: Observed, volumes: Sequence[Volume]) -> None:
    """Raise Refusal where the pod has a volume of its own from which the sidecar would read another file.

    A base without a pipeline, mounted in its place, is an open proxy.
    """
    own = {volume["name"]: volume for volume in list_at(observed.pod["spec"], "volumes")}
    for volume in volumes:
        name, there = volume["name"], own.get(volume["name"])
        if name not in (AUTHBRIDGE_RUNTIME_CONFIG, ENVOY_CONFIG) or there is None:
            continue
        if mapping_at(there, "configMap").get("name") != volume["configMap"]["name"]:
            raise Refusal(
                f"its volume {name} is not ConfigMap {volume['configMap']['name']}, from which the sidecar "
                "reads what the operator writes; rename the volume, or take it out of the pod template"
            )


def build_mounts(observed: Observed) -> list[Mapping[str, Any]]:
    """Where the sidecar has them."""
    mounts: list[Mapping[str, Any]] = [
        {"name": SHARED, "mountPath": SHARED_FOLDER},
        {"name": AUTHBRIDGE_RUNTIME_CONFIG, "mountPath": "/etc/authbridge", "readOnly": True},
        {"name": AUTHPROXY_ROUTES, "mountPath": "/etc/authproxy", "readOnly": True},
    ]
    if observed.settings.spire:
        folder = observed.platform.spiffe.socket_path.removeprefix("unix://").rpartition("/")[0]
        mounts += [
            {"name": _SVIDS, "mountPath": "/opt"},
            {"name": SPIFFE_HELPER_CONFIG, "mountPath": "/etc/spiffe-helper", "readOnly": True},
            {"name": _SOCKET, "mountPath": folder, "readOnly": True},
        ]
    if observed.settings.tls_bridge:
        mounts.append({"name": _BRIDGE, "mountPath": TLS_BRIDGE_FOLDER, "readOnly": True})
    if observed.settings.mode == "envoy-sidecar":
        mounts.append({"name": ENVOY_CONFIG, "mountPath": "/etc/envoy", "readOnly": True})
    return mounts


def _config_map(volume: str, name: str, *, optional: bool = False) -> Volume:
    return {"name": volume, "configMap": {"name": name, **({"optional": True} if optional else {})}}
