"""Pure: which client a workload is to have in Keycloak, and the Secret with its credentials (6.9).

The administrator's password goes to the operator's own Keycloak only, whatever a namespace says, and clients
are made only in realms that the operator was given. A client says by its attributes which cluster and which
workload it was made for: one without these is somebody else's, and is neither used nor changed.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kagenti_operator import contract
from kagenti_operator.contract import Names
from kagenti_operator.controllers.agents.keys import KINDS, AgentKey, build_key
from kagenti_operator.controllers.authbridge.credentials import default_secret
from kagenti_operator.controllers.authbridge.outcome import Injected, Outcome
from kagenti_operator.keycloak.address import is_same_address
from kagenti_operator.keycloak.client import RegisteredClient
from kagenti_operator.kube.manifests import Manifest, build_manifest
from kagenti_operator.kube.resources import SECRETS
from kagenti_operator.plain_text import excerpt
from kagenti_operator.runtime.telemetry.reporter import Report

NOT_REGISTERED = "ClientNotRegistered"
_CLUSTER = "cluster"
_WORKLOAD = "workload"
_AUTH_TYPES = (contract.CLIENT_SECRET_AUTH, contract.FEDERATED_JWT)
_LONGEST = 100
_OVER = "Its client is registered with Keycloak again."


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A client, and the Secret for its credentials."""

    realm: str
    client_id: str
    auth_type: str
    secret: str
    spiffe_alias: str = ""


@dataclass(frozen=True, kw_only=True)
class Unwanted:
    """No client is made; `report` says why where somebody has to act."""

    report: Report | None = None


@dataclass(frozen=True, kw_only=True)
class Registry:
    """The operator's own Keycloak, the realms that it may make clients in, and the mark of this cluster."""

    url: str
    realms: Sequence[str]
    cluster: str


def plan_registration(
    names: Names,
    key: AgentKey,
    outcome: Outcome,
    config: Mapping[str, str],
    registry: Registry,
    trust_domain: str,
) -> Wanted | Unwanted:
    """Decide by what admission makes of a pod, and by the namespace's `authbridge-config`."""
    if not isinstance(outcome, Injected) or not outcome.credentials_secret:
        return Unwanted()
    if outcome.credentials_secret != default_secret(names, key.namespace, key.name):
        # People named a Secret, and fill it themselves.
        return Unwanted()
    url, realm = config.get(contract.KEYCLOAK_URL_KEY), config.get(contract.KEYCLOAK_REALM_KEY)
    auth_type = config.get(contract.CLIENT_AUTH_KEY) or contract.CLIENT_SECRET_AUTH
    where = f"ConfigMap {contract.AUTHBRIDGE_CONFIG} in namespace {key.namespace}"
    if not url or not realm:
        return _unwanted(f"{where} lacks {contract.KEYCLOAK_REALM_KEY if url else contract.KEYCLOAK_URL_KEY}")
    if not is_same_address(url, registry.url):
        return _unwanted(
            f"{where} has {contract.KEYCLOAK_URL_KEY} {excerpt(url, _LONGEST)}, but the operator registers "
            f"clients with {registry.url} only: register it yourself, and name its Secret by annotation "
            f"{names.key(contract.CREDENTIALS_ANNOTATION)}"
        )
    if realm not in registry.realms:
        return _unwanted(
            f"{where} has {contract.KEYCLOAK_REALM_KEY} {excerpt(realm, _LONGEST)}, but the operator makes "
            f"clients in {', '.join(registry.realms)} only: name it by flag --keycloak-further-realm"
        )
    if auth_type not in _AUTH_TYPES:
        return _unwanted(
            f"{where} has {contract.CLIENT_AUTH_KEY} {excerpt(auth_type, _LONGEST)}: known are "
            f"{', '.join(_AUTH_TYPES)}"
        )
    client_id = f"{key.namespace}/{key.name}"
    if _has_spiffe(outcome):
        if not trust_domain:
            platform = names.prefixed(contract.PLATFORM_CONFIG)
            return _unwanted(
                f"ConfigMap {platform} lacks spiffe.trustDomain, which its SPIFFE ID begins with"
            )
        account = outcome.service_account or outcome.pod["spec"].get("serviceAccountName") or "default"
        client_id = f"spiffe://{trust_domain}/ns/{key.namespace}/sa/{account}"
    return Wanted(
        realm=realm,
        client_id=client_id,
        auth_type=auth_type,
        secret=outcome.credentials_secret,
        spiffe_alias=config.get(contract.SPIFFE_ALIAS_KEY) or contract.SPIFFE_ALIAS,
    )


def _unwanted(reason: str) -> Unwanted:
    return Unwanted(report=report_unregistered(reason))


def report_unregistered(reason: str) -> Report:
    """What holds as long as a workload has no client."""
    text = f"Its client is not registered with Keycloak, and new pods wait for its Secret: {reason}."
    return Report(reason=NOT_REGISTERED, message=text, log=True, over=_OVER)


def _has_spiffe(outcome: Injected) -> bool:
    variables = (env for container in outcome.pod["spec"]["containers"] for env in container.get("env") or ())
    return any(env.get("name") == "SPIRE_ENABLED" and env.get("value") == "true" for env in variables)


def build_client(names: Names, cluster: str, key: AgentKey, wanted: Wanted) -> Mapping[str, Any]:
    """Build the client, as Keycloak's admin API has it: for services only, nobody logs in through it."""
    attributes = {
        names.key(_CLUSTER): cluster,
        names.key(_WORKLOAD): str(key),
        "standard.token.exchange.enabled": "true",
    }
    if wanted.auth_type == contract.FEDERATED_JWT:
        attributes |= {
            "jwt.credential.issuer": wanted.spiffe_alias,
            "jwt.credential.sub": wanted.client_id,
        }
    return {
        "clientId": wanted.client_id,
        "name": f"{key.namespace}/{key.name}",
        "description": f"Made by {names.manager} for {key.kind} {key.name} in namespace {key.namespace}",
        "protocol": "openid-connect",
        "publicClient": False,
        "standardFlowEnabled": False,
        "implicitFlowEnabled": False,
        "directAccessGrantsEnabled": False,
        "serviceAccountsEnabled": True,
        "fullScopeAllowed": False,
        "clientAuthenticatorType": wanted.auth_type,
        "attributes": attributes,
    }


def is_ours(names: Names, cluster: str, client: RegisteredClient) -> bool:
    """Whether the operator of this cluster made it."""
    return client.attributes.get(names.key(_CLUSTER)) == cluster


def workload_of(names: Names, client: RegisteredClient) -> AgentKey | None:
    """The workload that a client was made for; None where it does not say."""
    kind, *rest = client.attributes.get(names.key(_WORKLOAD), "").split("/")
    return build_key(kind, *rest) if kind in KINDS and len(rest) == 2 else None


def differs(client: RegisteredClient, wanted: Mapping[str, Any]) -> bool:
    """Whether somebody changed what the sidecar relies on; which of several workloads it names is equal."""
    if client.client_authenticator_type != wanted["clientAuthenticatorType"]:
        return True
    attributes: Mapping[str, str] = wanted["attributes"]
    return any(
        client.attributes.get(name) != value
        for name, value in attributes.items()
        if not name.endswith(f"/{_WORKLOAD}")
    )


def describe_foreign(names: Names, cluster: str, client: RegisteredClient) -> str:
    """Say why a client cannot be used, and what to do."""
    attribute = names.key(_CLUSTER)
    return (
        f"Keycloak has a client '{client.client_id}' that this operator did not make: delete it, or set its "
        f"attribute {attribute} to {cluster} to hand it over"
    )


def build_secret(
    names: Names, key: AgentKey, wanted: Wanted, secret: str, owner: Mapping[str, str]
) -> Manifest:
    """Build the Secret that pods mount; it goes with the workload.

    The secret of a client that shows a token of its own is empty.
    """
    files = {contract.CLIENT_ID_FILE: wanted.client_id, contract.CLIENT_SECRET_FILE: secret}
    data = {name: b64encode(text.encode()).decode() for name, text in files.items()}
    owners: list[Any] = [{**owner, "controller": True, "blockOwnerDeletion": True}]
    return build_manifest(
        SECRETS,
        wanted.secret,
        key.namespace,
        labels=names.managed_labels,
        owners=owners,
        type="Opaque",
        data=data,
    )
