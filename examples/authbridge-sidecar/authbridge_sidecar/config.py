"""The file that the operator writes, read as strictly as the real sidecar reads it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


class Fatal(Exception):
    """What the real sidecar dies of; the message is its own."""


@dataclass(frozen=True)
class Validation:
    """Plugin `jwt-validation`."""

    issuer: str
    keys_url: str
    audience: str = ""


@dataclass(frozen=True)
class Route:
    """For a host: which audience a token is exchanged for, with which scopes. Without one it passes."""

    host: str
    audience: str = ""
    scopes: str = ""


@dataclass(frozen=True)
class Exchange:
    """Plugin `token-exchange`."""

    token_url: str
    identity: str
    policy: str = "passthrough"
    jwt_audience: str = ""
    routes_file: str = "/etc/authproxy/routes.yaml"
    routes: tuple[Route, ...] = ()


@dataclass(frozen=True)
class Pipeline:
    """What calls go through; without validation everybody comes in."""

    validation: Validation | None = None
    exchange: Exchange | None = None


@dataclass(frozen=True)
class Config:
    """The whole file, as far as it counts. An address that is not there is not listened on."""

    pipeline: Pipeline | None
    reverse: str = ""
    backend: str = ""
    forward: str = ""
    transparent: str = ":8082"
    session: str = ":9094"
    skip_hosts: tuple[str, ...] = ()
    mtls: str = "disabled"
    spire_socket: str = "/spiffe-workload-api/spire-agent.sock"


_VALIDATION_KEYS = {"issuer", "keycloak_url", "keycloak_realm", "jwks_url", "audience"}
_EXCHANGE_KEYS = {"token_url", "keycloak_url", "keycloak_realm", "default_policy", "identity", "routes"}
_IDENTITY_KEYS = {"type", "jwt_audience"}
_ROUTES_KEYS = {"file", "rules"}
_ROUTE_KEYS = {"host", "target_audience", "token_scopes"}
_PLUGINS = {"inbound": "jwt-validation", "outbound": "token-exchange"}


def read(path: Path) -> Config:
    """Read the file. Raises Fatal."""
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise Fatal(f"read config {path}: {error}") from error
    return parse(document)


def parse(document: Any) -> Config:
    """Read what the file holds. Raises Fatal. Unknown keys beside the plugins' are ignored."""
    top = _mapping(document or {}, "config")
    listener = _mapping(top.get("listener") or {}, "listener")
    mtls = _mapping(top.get("mtls") or {}, "mtls")
    # No block at all means none, an empty one the default.
    mode = mtls.get("mode", "permissive") if "mtls" in top else Config.mtls
    socket = str(_mapping(top.get("spiffe") or {}, "spiffe").get("socket", Config.spire_socket))
    return Config(
        pipeline=_parse_pipeline(top.get("pipeline")),
        reverse=listener.get("reverse_proxy_addr", ""),
        backend=listener.get("reverse_proxy_backend", ""),
        forward=listener.get("forward_proxy_addr", ""),
        transparent=listener.get("transparent_proxy_addr", Config.transparent),
        session=listener.get("session_api_addr", Config.session),
        skip_hosts=tuple(listener.get("skip_hosts") or ()),
        mtls=mode,
        spire_socket=socket.removeprefix("unix://"),
    )


def _parse_pipeline(value: Any) -> Pipeline | None:
    if not value:
        return None
    pipeline = _mapping(value, "pipeline")
    found = {way: _plugin(pipeline, way, name) for way, name in _PLUGINS.items()}
    inbound, outbound = found["inbound"], found["outbound"]
    return Pipeline(
        validation=None if inbound is None else _parse_validation(inbound),
        exchange=None if outbound is None else _parse_exchange(outbound),
    )


def _plugin(pipeline: Mapping[str, Any], way: str, name: str) -> Mapping[str, Any] | None:
    plugins = _mapping(pipeline.get(way) or {}, way).get("plugins") or []
    for plugin in plugins:
        if plugin.get("name") != name:
            raise Fatal(f'unknown plugin "{plugin.get("name")}" in pipeline.{way}')
    return _mapping(plugins[0].get("config") or {}, name) if plugins else None


def _parse_validation(config: Mapping[str, Any]) -> Validation:
    _check_known(config, _VALIDATION_KEYS)
    if not config.get("issuer"):
        raise Fatal("jwt-validation: issuer is required")
    keys = config.get("jwks_url") or _endpoint(config, "certs")
    if not keys:
        raise Fatal("jwt-validation: jwks_url is required")
    return Validation(config["issuer"], keys, config.get("audience") or "")


def _parse_exchange(config: Mapping[str, Any]) -> Exchange:
    _check_known(config, _EXCHANGE_KEYS)
    identity = _mapping(config.get("identity") or {}, "identity")
    _check_known(identity, _IDENTITY_KEYS)
    url = config.get("token_url") or _endpoint(config, "token")
    if not url:
        raise Fatal("token-exchange: token_url is required")
    if not identity.get("type"):
        raise Fatal("token-exchange: identity.type is required")
    if identity["type"] == "spiffe" and not identity.get("jwt_audience"):
        raise Fatal("token-exchange: identity.jwt_audience is required for spiffe")
    routes = config.get("routes") or {}
    if isinstance(routes, list):
        raise Fatal("token-exchange: json: cannot unmarshal array into Go struct field .routes")
    _check_known(routes, _ROUTES_KEYS)
    return Exchange(
        token_url=url,
        identity=identity["type"],
        policy=config.get("default_policy") or Exchange.policy,
        jwt_audience=identity.get("jwt_audience") or "",
        routes_file=routes.get("file") or Exchange.routes_file,
        routes=parse_routes(routes.get("rules")),
    )


def parse_routes(rules: Any) -> tuple[Route, ...]:
    """Read routes, the first of which to match a host counts. Raises Fatal."""
    found: list[Route] = []
    for rule in rules or ():
        _check_known(_mapping(rule, "route"), _ROUTE_KEYS)
        found.append(Route(rule["host"], rule.get("target_audience") or "", rule.get("token_scopes") or ""))
    return tuple(found)


def _endpoint(config: Mapping[str, Any], name: str) -> str:
    url, realm = config.get("keycloak_url"), config.get("keycloak_realm")
    return f"{url.rstrip('/')}/realms/{realm}/protocol/openid-connect/{name}" if url and realm else ""


def _check_known(config: Mapping[str, Any], known: set[str]) -> None:
    for key in config:
        if key not in known:
            raise Fatal(f'json: unknown field "{key}"')


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise Fatal(f"{what} is no mapping")
    return value
