"""Keycloak on the cluster: the workload, and the realm in which agents, a tool and a user are known.

What is set up, all in the realm that is named as the platform's prefix:

- client `demo`, with which people get tokens by password, and user `alice`, whose password is her name;
- scope `weather-agent-audience`: tokens with it are for `team1/weather-agent`, the client that the operator
  registers; `demo` has it by default;
- client `weather-tool` and scope `weather-tool-audience`, which every client may ask for: a tool, for which
  agents exchange tokens.
"""

import asyncio
import secrets
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from keycloak.exceptions import KeycloakError

from kagenti_devcluster.cluster.kubectl import apply, packaged_manifests, run_kubectl
from kagenti_devcluster.errors import DevClusterError
from kagenti_devcluster.host.options import KEYCLOAK
from kagenti_devcluster.profiles import Profile

DEMO_CLIENT = "demo"
USER = "alice"
AGENT_CLIENT = "team1/weather-agent"
AGENT_SCOPE = "weather-agent-audience"
TOOL_CLIENT = "weather-tool"
TOOL_SCOPE = "weather-tool-audience"
ADMIN_USER = "temp-admin"
ADMIN_SECRET = "keycloak-initial-admin"
_READY = ("wait", "--for=condition=Available", "--timeout=180s", "--namespace", KEYCLOAK.namespace)


class _Admin(Protocol):
    """The part of KeycloakAdmin that is used; its own types say no more than `dict`."""

    def create_realm(self, payload: dict[str, Any]) -> object: ...
    def create_client(self, payload: dict[str, Any]) -> str: ...
    def create_client_scope(self, payload: dict[str, Any]) -> str: ...
    def add_default_optional_client_scope(self, scope_id: str) -> object: ...
    def add_client_default_client_scope(
        self, client_id: str, client_scope_id: str, payload: dict[str, Any]
    ) -> object: ...
    def create_user(self, payload: dict[str, Any]) -> str: ...


async def install(
    kubeconfig: Path, profile: Profile, public: str, *, find_address: Callable[[], str | None]
) -> None:
    """Start Keycloak and set its realm up. Raises DevClusterError.

    `public` is the address that tokens name as their issuer, `find_address` that of the Service.
    """
    password = secrets.token_urlsafe(24)
    values = {"public": public, "password": password}
    await apply(kubeconfig, packaged_manifests("keycloak", values=values))
    await run_kubectl(kubeconfig, *_READY, "deployment/keycloak")
    address = find_address()
    if address is None:
        raise DevClusterError(f"there is no Service {KEYCLOAK.namespace}/{KEYCLOAK.service}")
    server = f"http://{address}:{KEYCLOAK.port}"
    try:
        await asyncio.to_thread(set_up_realm, server, password, profile.names.prefix)
    except KeycloakError as error:
        raise DevClusterError(f"Keycloak refused to be set up: {error}") from error


def set_up_realm(server: str, password: str, realm: str) -> None:
    """Make realm, clients, scopes and user. Raises KeycloakError."""
    factory = cast("Callable[..., _Admin]", import_module("keycloak").KeycloakAdmin)
    admin = factory(
        server_url=server,
        username=ADMIN_USER,
        password=password,
        realm_name=realm,
        user_realm_name="master",
    )
    admin.create_realm({"realm": realm, "enabled": True})
    agent_scope = admin.create_client_scope(_audience_scope(AGENT_SCOPE, AGENT_CLIENT))
    tool_scope = admin.create_client_scope(_audience_scope(TOOL_SCOPE, TOOL_CLIENT))
    # Clients that are registered later may ask for it.
    admin.add_default_optional_client_scope(tool_scope)
    demo = admin.create_client(
        {
            "clientId": DEMO_CLIENT,
            "publicClient": True,
            "standardFlowEnabled": False,
            "directAccessGrantsEnabled": True,
        }
    )
    admin.add_client_default_client_scope(demo, agent_scope, {})
    admin.create_client({"clientId": TOOL_CLIENT, "bearerOnly": True})
    admin.create_user(
        {
            "username": USER,
            "enabled": True,
            "email": f"{USER}@example.com",
            "emailVerified": True,
            "firstName": "Alice",
            "lastName": "Example",
            "credentials": [{"type": "password", "value": USER, "temporary": False}],
        }
    )


def _audience_scope(name: str, audience: str) -> dict[str, Any]:
    # By name: the client may not be registered yet.
    config = {
        "included.custom.audience": audience,
        "access.token.claim": "true",
        "id.token.claim": "false",
    }
    mapper = {
        "name": "audience",
        "protocol": "openid-connect",
        "protocolMapper": "oidc-audience-mapper",
        "config": config,
    }
    return {
        "name": name,
        "protocol": "openid-connect",
        "attributes": {"include.in.token.scope": "false"},
        "protocolMappers": [mapper],
    }
