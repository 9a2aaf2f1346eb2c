"""The file of a workload's sidecar, key `config.yaml` of ConfigMap `authbridge-config-<workload>`: 6.5."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from kagenti_operator.contract import LOOPBACK, SESSION_PORT, TLS_BRIDGE_FOLDER
from kagenti_operator.controllers.authbridge.base import Base
from kagenti_operator.controllers.authbridge.inputs import NamespaceConfig, Refusal, Surroundings
from kagenti_operator.controllers.authbridge.pipeline import build_pipeline, check_pipeline, has_pipeline
from kagenti_operator.controllers.authbridge.resolve import Settings

# Where the sidecar is reached, and reaches the agent: chosen for each pod, so what a base says of it goes.
_PLACED_KEYS = (
    "reverse_proxy_addr",
    "reverse_proxy_backend",
    "forward_proxy_addr",
    "inbound_interception",
    "transparent_inbound_addr",
)
_ROLES = ("reverse", "forward")


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """What is laid over a base.

    `listener`: where the sidecar listens. `socket`: of SPIRE's agent. `unbridged`: hosts whose TLS is left
    alone by the TLS bridge. `unexchanged`: hosts that calls go to with the tokens that they have.
    """

    mode: str
    listener: Mapping[str, str]
    socket: str
    unbridged: tuple[str, ...] = ()
    unexchanged: tuple[str, ...] = ()


def build_document(
    base: Base, namespace: NamespaceConfig, settings: Settings, overlay: Overlay, surroundings: Surroundings
) -> Mapping[str, Any]:
    """The file. Raises Refusal where the sidecar would not run on it, or would not protect."""
    document = dict(base.document)
    if has_pipeline(base):
        check_pipeline(base)
    else:
        document["pipeline"] = build_pipeline(namespace)
    laid_over = {
        "mode": overlay.mode,
        "listener": _build_listener(base, overlay, surroundings),
        "mtls": None if settings.mtls == "disabled" else {"mode": settings.mtls},
        "tls_bridge": _build_tls_bridge(base, overlay) if settings.tls_bridge else None,
        "spiffe": {**base.section("spiffe"), "socket": overlay.socket} if settings.spire else None,
    }
    return {key: value for key, value in (document | laid_over).items() if value is not None}


def collector_hosts(surroundings: Surroundings) -> list[str]:
    """How an agent may name the collector. The sidecar's patterns do not reach across dots."""
    name, namespace = surroundings.collector_service, surroundings.platform_namespace
    if not namespace:
        return [f"{name}*"]
    host = f"{name}.{namespace}"
    return [f"{name}*", host, f"{host}.svc", f"{host}.svc.cluster.local"]


def _build_listener(base: Base, overlay: Overlay, surroundings: Surroundings) -> Mapping[str, Any]:
    theirs = {key: value for key, value in base.section("listener").items() if key not in _PLACED_KEYS}
    roles = cast("object", theirs.get("roles"))
    if roles and not (isinstance(roles, list) and set(_ROLES) <= {*cast("list[object]", roles)}):
        raise Refusal(
            f"listener.roles of {base.where} must have {' and '.join(_ROLES)} for a sidecar: take it out"
        )
    ours: dict[str, Any] = {
        # It serves what users said, without authentication.
        "session_api_addr": f"{LOOPBACK}:{SESSION_PORT}",
        # Else the agent's traces would be refused where calls out are exchanged by default.
        "skip_hosts": [*collector_hosts(surroundings), *overlay.unexchanged],
    }
    return {**ours, **theirs, **overlay.listener}


def _build_tls_bridge(base: Base, overlay: Overlay) -> Mapping[str, Any]:
    theirs = base.section("tls_bridge")
    hosts = {"passthrough_hosts": list(overlay.unbridged)} if overlay.unbridged else {}
    return {**hosts, **theirs, "mode": "enabled", "ca_dir": TLS_BRIDGE_FOLDER}
