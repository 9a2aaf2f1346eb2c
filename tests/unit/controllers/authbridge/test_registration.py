"""Which client a workload is to have, and what a namespace cannot have the operator do."""

from base64 import b64decode
from typing import Any

import pytest

from kagenti_operator.contract import KAGENTI
from kagenti_operator.controllers.agents.keys import build_key
from kagenti_operator.controllers.authbridge.credentials import default_secret
from kagenti_operator.controllers.authbridge.outcome import Injected, Outcome, Refused, Unchanged
from kagenti_operator.controllers.authbridge.registration import (
    Registry,
    Unwanted,
    Wanted,
    build_client,
    build_secret,
    differs,
    is_ours,
    plan_registration,
    workload_of,
)
from kagenti_operator.keycloak.client import RegisteredClient

KEY = build_key("Deployment", "team1", "weather")
URL = "http://keycloak-service.keycloak.svc:8080"
CONFIG = {"KEYCLOAK_URL": URL, "KEYCLOAK_REALM": "kagenti", "CLIENT_AUTH_TYPE": "client-secret"}
REGISTRY = Registry(url=URL, realms=("kagenti", "second"), cluster="c1")
SECRET = default_secret(KAGENTI, "team1", "weather")
WANTED = Wanted(
    realm="kagenti",
    client_id="team1/weather",
    auth_type="client-secret",
    secret=SECRET,
    spiffe_alias="spire-spiffe",
)


def injected(*, secret: str | None = SECRET, spire: bool = False, **spec: Any) -> Injected:
    container = {"name": "authbridge-proxy", "env": [{"name": "SPIRE_ENABLED", "value": str(spire).lower()}]}
    return Injected(
        pod={"metadata": {}, "spec": {"containers": [{"name": "agent"}, container], **spec}},
        credentials_secret=secret,
        service_account="weather" if spire and not spec else None,
    )


def plan(outcome: Outcome | None = None, *, trust_domain: str = "", **config: str) -> Wanted | Unwanted:
    return plan_registration(
        KAGENTI, KEY, outcome or injected(), {**CONFIG, **config}, REGISTRY, trust_domain
    )


def without(key: str) -> Wanted | Unwanted:
    config = {name: value for name, value in CONFIG.items() if name != key}
    return plan_registration(KAGENTI, KEY, injected(), config, REGISTRY, "")


def refusal(found: Wanted | Unwanted) -> str:
    assert isinstance(found, Unwanted)
    assert found.report is not None
    return found.report.message


def test_an_agent_is_a_client_named_by_namespace_and_workload() -> None:
    assert plan() == WANTED


def test_another_realm_that_the_operator_was_given_is_fine() -> None:
    found = plan(KEYCLOAK_REALM="second")
    assert isinstance(found, Wanted)
    assert found.realm == "second"


@pytest.mark.parametrize(
    "outcome",
    [Unchanged(), Refused("no"), injected(secret=None), injected(secret="my-own-secret")],
    ids=["left alone", "refused", "without credentials", "with a Secret of people's"],
)
def test_nothing_is_registered_for_other_pods(outcome: Outcome) -> None:
    assert plan(outcome) == Unwanted()


@pytest.mark.parametrize(
    "url",
    [
        "http://keycloak-service.team1.svc:8080",
        "https://evil.example",
        f"{URL}.evil.example",
        f"{URL}@evil.example",
        f"{URL}/../../evil",
    ],
)
def test_a_namespace_cannot_have_the_administrators_password_sent_to_an_address_of_its_own(url: str) -> None:
    said = refusal(plan(KEYCLOAK_URL=url))
    assert f"the operator registers clients with {URL} only" in said
    assert "annotation kagenti.io/keycloak-client-credentials-secret-name" in said


@pytest.mark.parametrize("realm", ["master", "somebody-elses"])
def test_a_namespace_cannot_have_a_client_in_a_realm_that_the_operator_was_not_given(realm: str) -> None:
    assert f"KEYCLOAK_REALM {realm}, but the operator makes clients in kagenti, second only" in refusal(
        plan(KEYCLOAK_REALM=realm)
    )


@pytest.mark.parametrize("key", ["KEYCLOAK_URL", "KEYCLOAK_REALM"])
def test_what_is_missing_is_named(key: str) -> None:
    assert f"ConfigMap authbridge-config in namespace team1 lacks {key}" in refusal(without(key))


def test_an_unknown_way_to_log_in_is_named() -> None:
    assert "CLIENT_AUTH_TYPE magic: known are client-secret, federated-jwt" in refusal(
        plan(CLIENT_AUTH_TYPE="magic")
    )


@pytest.mark.parametrize(
    ("spec", "account"),
    [({}, "weather"), ({"serviceAccountName": "mine"}, "mine")],
    ids=["made for it", "its own"],
)
def test_with_spire_the_client_is_named_by_the_account_that_the_pod_has(
    spec: dict[str, Any], account: str
) -> None:
    found = plan(injected(spire=True, **spec), trust_domain="example.org", CLIENT_AUTH_TYPE="federated-jwt")
    assert isinstance(found, Wanted)
    assert found.client_id == f"spiffe://example.org/ns/team1/sa/{account}"
    client = build_client(KAGENTI, "c1", KEY, found)
    assert client["clientAuthenticatorType"] == "federated-jwt"
    assert client["attributes"]["jwt.credential.issuer"] == "spire-spiffe"
    assert client["attributes"]["jwt.credential.sub"] == found.client_id


def test_with_spire_a_trust_domain_is_needed() -> None:
    assert "ConfigMap kagenti-platform-config lacks spiffe.trustDomain" in refusal(plan(injected(spire=True)))


def test_a_client_serves_only_services_and_says_whose_it_is() -> None:
    made = build_client(KAGENTI, "c1", KEY, WANTED)
    flows = ("publicClient", "standardFlowEnabled", "implicitFlowEnabled", "directAccessGrantsEnabled")
    assert not any(made[flow] for flow in (*flows, "fullScopeAllowed"))
    assert made["attributes"]["standard.token.exchange.enabled"] == "true"
    client = RegisteredClient(id="1", client_id="team1/weather", attributes=made["attributes"])
    assert is_ours(KAGENTI, "c1", client)
    assert not is_ours(KAGENTI, "another cluster", client)
    assert workload_of(KAGENTI, client) == KEY


@pytest.mark.parametrize("mark", ["", "weather", "Job/team1/weather", "Deployment/team1", "Deployment/a/b/c"])
def test_a_client_that_says_nothing_of_use_belongs_to_no_workload(mark: str) -> None:
    client = RegisteredClient(id="1", client_id="x", attributes={"kagenti.io/workload": mark})
    assert workload_of(KAGENTI, client) is None


def test_only_what_the_sidecar_relies_on_is_put_right() -> None:
    made = build_client(KAGENTI, "c1", KEY, WANTED)
    attributes: dict[str, str] = made["attributes"]

    def client(auth: str = "client-secret", **changed: str) -> RegisteredClient:
        return RegisteredClient(
            id="1",
            client_id="team1/weather",
            client_authenticator_type=auth,
            attributes={**attributes, "theirs": "stays", **changed},
        )

    assert not differs(client(), made)
    assert not differs(client(**{"kagenti.io/workload": "StatefulSet/team1/weather"}), made)
    assert differs(client(auth="client-jwt"), made)
    assert differs(client(**{"standard.token.exchange.enabled": "false"}), made)


def test_the_secret_goes_with_the_workload() -> None:
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "weather", "uid": "u1"}
    made = build_secret(KAGENTI, KEY, WANTED, "s3cret", owner)
    assert {name: b64decode(text) for name, text in made["data"].items()} == {
        "client-id.txt": b"team1/weather",
        "client-secret.txt": b"s3cret",
    }
    assert made["metadata"]["name"] == SECRET
    assert made["metadata"]["ownerReferences"] == [{**owner, "controller": True, "blockOwnerDeletion": True}]
