"""The plugins of a sidecar: synthesised where a namespace's base has none, checked where it has its own."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from kagenti_operator.contract import (
    AUTHBRIDGE_CONFIG,
    CLIENT_AUTH_KEY,
    CLIENT_SECRET_AUTH,
    FEDERATED_JWT,
    ISSUER_KEY,
    JWT_AUDIENCE_KEY,
    JWT_VALIDATION,
    KEYCLOAK_REALM_KEY,
    KEYCLOAK_URL_KEY,
    OUTBOUND_POLICIES,
    OUTBOUND_POLICY_KEY,
    SPIFFE_IDENTITY,
    TOKEN_EXCHANGE,
)
from kagenti_operator.controllers.authbridge.base import Base
from kagenti_operator.controllers.authbridge.inputs import NamespaceConfig, Refusal
from kagenti_operator.mappings import as_mapping
from kagenti_operator.plain_text import excerpt

_REQUIRED = (ISSUER_KEY, KEYCLOAK_URL_KEY, KEYCLOAK_REALM_KEY, CLIENT_AUTH_KEY)
# What only looks at calls, or only reports what it would refuse, protects nothing.
_PARSER = "-parser"
_TOOTHLESS = ("observe", "off")
_INLINE_SECRETS = ("client_secret", "password", "token")


def has_pipeline(base: Base) -> bool:
    """Whether a base has its own, which is then kept as it is. Older top-level blocks are none."""
    return bool(base.section("pipeline"))


# --- synthesised --------------------------------------------------------------------------------------------


def build_pipeline(namespace: NamespaceConfig) -> Mapping[str, Any]:
    """The pipeline of a namespace that has none. Raises Refusal for what it would not run without.

    `issuer` is the public name that tokens carry, while the key set is fetched from Keycloak's address within
    the cluster: so the plugin that validates has both.
    """
    issuer, url, realm, client = (_required(namespace, key) for key in _REQUIRED)
    keycloak = {"keycloak_url": url, "keycloak_realm": realm}
    policy = _policy(namespace)
    exchange = {
        **keycloak,
        **({"default_policy": policy} if policy else {}),
        "identity": _identity(namespace, client),
    }
    return {
        "inbound": {"plugins": [{"name": JWT_VALIDATION, "config": {"issuer": issuer, **keycloak}}]},
        "outbound": {"plugins": [{"name": TOKEN_EXCHANGE, "config": exchange}]},
    }


def _where(namespace: NamespaceConfig) -> str:
    return f"ConfigMap {AUTHBRIDGE_CONFIG} in namespace {namespace.namespace}"


def _required(namespace: NamespaceConfig, key: str) -> str:
    if value := namespace.config.get(key, "").strip():
        return value
    missing = [it for it in _REQUIRED if not namespace.config.get(it, "").strip()]
    raise Refusal(f"{_where(namespace)} lacks {', '.join(missing)}, without which the sidecar does not start")


def _policy(namespace: NamespaceConfig) -> str:
    policy = namespace.config.get(OUTBOUND_POLICY_KEY, "").strip()
    if policy and policy not in OUTBOUND_POLICIES:
        raise Refusal(
            f"{_where(namespace)} has {OUTBOUND_POLICY_KEY} {excerpt(policy, 60)!r}: "
            f"it can be {' or '.join(OUTBOUND_POLICIES)}"
        )
    return policy


def _identity(namespace: NamespaceConfig, client: str) -> Mapping[str, str]:
    if client == CLIENT_SECRET_AUTH:
        return {"type": client}
    if client != FEDERATED_JWT:
        raise Refusal(
            f"{_where(namespace)} has {CLIENT_AUTH_KEY} {excerpt(client, 60)!r}: "
            f"it can be {CLIENT_SECRET_AUTH} or {FEDERATED_JWT}"
        )
    if audience := namespace.config.get(JWT_AUDIENCE_KEY, "").strip():
        return {"type": SPIFFE_IDENTITY, "jwt_audience": audience}
    raise Refusal(
        f"{_where(namespace)} lacks {JWT_AUDIENCE_KEY}, which {CLIENT_AUTH_KEY} {FEDERATED_JWT} needs"
    )


# --- a base's own -------------------------------------------------------------------------------------------


def check_pipeline(base: Base) -> None:
    """Check a base's own. Raises Refusal where the sidecar would not start, or would let all calls in."""
    inbound, outbound = (list(_plugins(base, stage)) for stage in ("inbound", "outbound"))
    if not any(_protects(plugin) for plugin in inbound):
        raise Refusal(
            f"pipeline.inbound.plugins of {base.where} has no plugin that refuses calls, and the agent would "
            f"be open to everybody: add {JWT_VALIDATION}, or take pipeline out for the default one"
        )
    for plugin in (*inbound, *outbound):
        config = as_mapping(plugin.get("config"))
        if plugin.get("name") == JWT_VALIDATION:
            _demand(base, JWT_VALIDATION, config, "issuer")
        elif plugin.get("name") == TOKEN_EXCHANGE:
            _check_exchange(base, config)
    if path := _inline_secret(base.section("pipeline"), "pipeline"):
        raise Refusal(
            f"{path} of {base.where} is a secret, and a ConfigMap is no place for one: use the file that "
            f"client registration mounts, or a variable"
        )


def uses_spiffe(base: Base) -> bool:
    """Whether the sidecar shows its SPIFFE identity when it exchanges tokens."""
    return any(
        as_mapping(as_mapping(plugin.get("config")).get("identity")).get("type") == SPIFFE_IDENTITY
        for plugin in _plugins(base, "outbound")
    )


def _plugins(base: Base, stage: str) -> Iterator[Mapping[str, Any]]:
    found = base.section("pipeline").get(stage)
    plugins: object = as_mapping(found).get("plugins") or list[object]()
    if not isinstance(found or {}, Mapping) or not isinstance(plugins, list):
        raise Refusal(f"pipeline.{stage} of {base.where} is no mapping with a list of plugins")
    for plugin in cast("list[object]", plugins):
        # The sidecar takes a bare name as well.
        yield {"name": plugin} if isinstance(plugin, str) else as_mapping(plugin)


def _protects(plugin: Mapping[str, Any]) -> bool:
    name = plugin.get("name")
    if not isinstance(name, str) or name.endswith(_PARSER):
        return False
    return plugin.get("on_error") not in _TOOTHLESS


def _check_exchange(base: Base, config: Mapping[str, Any]) -> None:
    if not config.get("token_url") and not config.get("provider"):
        _demand(base, TOKEN_EXCHANGE, config, "keycloak_url")
        _demand(base, TOKEN_EXCHANGE, config, "keycloak_realm")
    identity = as_mapping(config.get("identity"))
    _demand(base, TOKEN_EXCHANGE, identity, "type", "identity.")
    if identity["type"] == SPIFFE_IDENTITY:
        _demand(base, TOKEN_EXCHANGE, identity, "jwt_audience", "identity.")
    if not isinstance(config.get("routes") or {}, Mapping):
        raise Refusal(
            f"routes in the config of {TOKEN_EXCHANGE} of {base.where} is no mapping: put the list under "
            f"routes.rules"
        )


def _demand(base: Base, plugin: str, config: Mapping[str, Any], key: str, prefix: str = "") -> None:
    if not config.get(key):
        raise Refusal(
            f"the config of plugin {plugin} of {base.where} lacks {prefix}{key}, without which the sidecar "
            f"does not start"
        )


def _inline_secret(value: object, path: str) -> str:
    """The path to a secret that is written out; empty where there is none, or only a variable's name."""
    if isinstance(value, list):
        items = enumerate(cast("list[object]", value))
        return next(filter(None, (_inline_secret(item, f"{path}[{i}]") for i, item in items)), "")
    for key, item in as_mapping(value).items():
        below = f"{path}.{key}"
        if key in _INLINE_SECRETS and isinstance(item, str) and item and not item.startswith("$"):
            return below
        if found := _inline_secret(item, below):
            return found
    return ""
