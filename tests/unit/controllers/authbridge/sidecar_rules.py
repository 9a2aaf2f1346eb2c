"""What the real sidecar does with a file, as far as it was measured: why it would not run, or not protect."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from kagenti_operator.mappings import as_mapping

DEFAULTS = {"transparent_proxy_addr": ":8082", "health_addr": ":9091"}
KEYS = {
    "jwt-validation": {"issuer", "keycloak_url", "keycloak_realm"},
    "token-exchange": {"keycloak_url", "keycloak_realm", "default_policy", "identity"},
}


def faults(file: Mapping[str, Any]) -> Iterator[str]:
    """Everything for which the sidecar would die, be open, or listen nowhere. `file`: a synthesised one."""
    pipeline = as_mapping(file.get("pipeline"))
    inbound, outbound = (_plugins(pipeline, stage) for stage in ("inbound", "outbound"))
    if not inbound:
        yield "open proxy"
    for plugin in (*inbound, *outbound):
        yield from _plugin_faults(plugin["name"], plugin["config"])
    yield from _listener_faults(file)
    if "mtls" in file and not as_mapping(file.get("spiffe")).get("socket"):
        yield "listens nowhere: mtls without a SPIRE agent"
    if file.get("mode") not in ("proxy-sidecar", "envoy-sidecar"):
        yield "mode of no sidecar"


def _plugins(pipeline: Mapping[str, Any], stage: str) -> list[Mapping[str, Any]]:
    return cast("list[Mapping[str, Any]]", as_mapping(pipeline.get(stage)).get("plugins") or [])


def _plugin_faults(name: str, config: Mapping[str, Any]) -> Iterator[str]:
    if unknown := config.keys() - KEYS[name]:
        yield f"unknown field {unknown}"
    if name == "jwt-validation" and not config.get("issuer"):
        yield "issuer is required"
    if not config.get("keycloak_url") or not config.get("keycloak_realm"):
        yield "token_url is required"
    if name == "token-exchange":
        identity = as_mapping(config.get("identity"))
        if identity.get("type") not in ("spiffe", "client-secret"):
            yield "identity.type is required"
        if identity.get("type") == "spiffe" and not identity.get("jwt_audience"):
            yield "jwt_audience is required"
        if config.get("default_policy", "passthrough") not in ("passthrough", "exchange"):
            yield "unknown default_policy"


def _listener_faults(file: Mapping[str, Any]) -> Iterator[str]:
    listener = {**DEFAULTS, **as_mapping(file.get("listener"))}
    addresses = {key: value for key, value in listener.items() if key.endswith("_addr")}
    addresses["stats"] = as_mapping(file.get("stats")).get("address") or ":9093"
    bound: dict[int, str] = {}
    for key, value in addresses.items():
        port = int(str(value).rpartition(":")[2])
        if port in bound:
            yield f"{key} listen on {port}: in use by {bound[port]}"
        bound[port] = key
    backend = str(listener.get("reverse_proxy_backend", ":0"))
    if int(backend.rpartition(":")[2]) in bound:
        yield "the agent's port is in use"
