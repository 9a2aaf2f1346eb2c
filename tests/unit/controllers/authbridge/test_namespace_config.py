"""What is filled in, and whose a key is."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from kagenti_operator.contract import KAGENTI
from kagenti_operator.controllers.authbridge.namespace_config import build_copy, build_namespace_config
from kagenti_operator.controllers.settings import Settings
from kagenti_operator.kube.objects.models import SharedConfigMap

SETTINGS = Settings(keycloak_public_url="https://login.example.com/", keycloak_realm="agents")
ISSUER = "https://login.example.com/realms/agents"
FILLED_IN = {
    "KEYCLOAK_URL": "http://keycloak-service.keycloak.svc:8080",
    "KEYCLOAK_REALM": "agents",
    "KEYCLOAK_NAMESPACE": "keycloak",
    "CLIENT_AUTH_TYPE": "client-secret",
    "SPIFFE_IDP_ALIAS": "spire-spiffe",
    "CREDENTIAL_WAIT_TIMEOUT": "120s",
    "ISSUER": ISSUER,
    "EXPECTED_AUDIENCE": ISSUER,
    "JWT_AUDIENCE": ISSUER,
}
OURS = (KAGENTI.manager, "Apply")
COPIED = (KAGENTI.manager, "Update")
SOMEBODY = ("kubectl-edit", "Update")
LABELS = {
    "app.kubernetes.io/managed-by": KAGENTI.manager,
    "kagenti.io/managed-by": KAGENTI.manager,
    "kagenti.io/defaults": "true",
}


def owned(manager: tuple[str, str], keys: Any, labels: Any = ()) -> dict[str, Any]:
    fields: dict[str, Any] = {"f:data": {".": {}, **{f"f:{key}": {} for key in keys}}}
    fields["f:metadata"] = {"f:labels": {f"f:{label}": {} for label in labels}}
    return {"manager": manager[0], "operation": manager[1], "fieldsV1": fields}


def config_map(
    data: Mapping[str, str], *managed: dict[str, Any], labels: Mapping[str, str] | None = None
) -> SharedConfigMap:
    metadata = {"name": "authbridge-config", "namespace": "team1", "uid": "u1", "labels": labels or {}}
    body = {"metadata": {**metadata, "managedFields": managed}, "data": data}
    return msgspec.convert(body, SharedConfigMap)


def filled_in(settings: Settings = SETTINGS, current: SharedConfigMap | None = None) -> Any:
    return build_namespace_config(settings, "team1", current)


def test_all_keys_are_filled_in_where_there_is_nothing() -> None:
    manifest = filled_in()
    assert manifest["data"] == FILLED_IN
    assert manifest["metadata"] == {"name": "authbridge-config", "namespace": "team1", "labels": LABELS}


def test_nothing_is_written_again() -> None:
    current = config_map(FILLED_IN, owned(OURS, FILLED_IN, LABELS), labels=LABELS)
    assert filled_in(current=current) is None


def test_without_a_public_address_no_issuer_is_made_up() -> None:
    manifest = filled_in(Settings())
    assert manifest["data"].keys() == FILLED_IN.keys() - {"ISSUER", "EXPECTED_AUDIENCE", "JWT_AUDIENCE"}


def test_present_keys_stay_and_are_not_owned() -> None:
    current = config_map({"KEYCLOAK_URL": "http://theirs", "OWN": "x"}, owned(SOMEBODY, ["KEYCLOAK_URL"]))
    manifest = filled_in(current=current)
    assert manifest["data"] == {k: v for k, v in FILLED_IN.items() if k != "KEYCLOAK_URL"}
    assert manifest["metadata"]["uid"] == "u1"


def test_an_empty_value_is_a_value() -> None:
    manifest = filled_in(current=config_map({"ISSUER": ""}, owned(SOMEBODY, ["ISSUER"])))
    assert "ISSUER" not in manifest["data"]


def test_issuer_and_address_follow_the_realm_and_namespace_that_people_name() -> None:
    theirs = {"KEYCLOAK_REALM": "sales", "KEYCLOAK_NAMESPACE": "sso"}
    manifest = filled_in(current=config_map(theirs, owned(SOMEBODY, theirs)))
    assert manifest["data"]["ISSUER"] == "https://login.example.com/realms/sales"
    assert manifest["data"]["KEYCLOAK_URL"] == "http://keycloak-service.sso.svc:8080"


def test_what_was_filled_in_follows_the_settings() -> None:
    current = config_map(FILLED_IN, owned(OURS, FILLED_IN, LABELS), labels=LABELS)
    manifest = filled_in(Settings(keycloak_public_url="https://new.example.com"), current)
    assert manifest["data"]["ISSUER"] == "https://new.example.com/realms/kagenti"
    assert manifest["data"]["KEYCLOAK_REALM"] == "kagenti"


def test_a_key_that_somebody_changes_is_theirs() -> None:
    data = {**FILLED_IN, "ISSUER": "https://theirs"}
    mine = owned(OURS, FILLED_IN.keys() - {"ISSUER"}, LABELS)
    assert filled_in(current=config_map(data, mine, owned(SOMEBODY, ["ISSUER"]), labels=LABELS)) is None


def test_a_key_that_somebody_applies_as_well_is_given_up() -> None:
    """Else their next change would be a conflict."""
    current = config_map(
        FILLED_IN, owned(OURS, FILLED_IN, LABELS), owned(("argocd", "Apply"), ["ISSUER"]), labels=LABELS
    )
    manifest = filled_in(current=current)
    assert manifest["data"].keys() == FILLED_IN.keys() - {"ISSUER"}


def test_a_removed_key_is_filled_in_again() -> None:
    data = {k: v for k, v in FILLED_IN.items() if k != "ISSUER"}
    current = config_map(data, owned(OURS, data, LABELS), labels=LABELS)
    assert filled_in(current=current)["data"] == FILLED_IN


def test_somebody_who_has_all_keys_is_left_alone() -> None:
    assert filled_in(current=config_map(FILLED_IN, owned(SOMEBODY, FILLED_IN))) is None


def test_labels_of_others_stay() -> None:
    labels = {"app.kubernetes.io/managed-by": "Helm"}
    current = config_map({}, owned(("helm", "Update"), [], labels), labels=labels)
    assert filled_in(current=current)["metadata"]["labels"] == {
        "kagenti.io/managed-by": KAGENTI.manager,
        "kagenti.io/defaults": "true",
    }


def test_a_copied_template_is_completed_and_never_overwritten() -> None:
    template = config_map({"KEYCLOAK_REALM": "from-template", "EXTRA": "1"})
    copy = build_copy(SETTINGS, template, "team1")
    assert copy["data"] == {"KEYCLOAK_REALM": "from-template", "EXTRA": "1"}
    labels = copy["metadata"]["labels"]
    current = config_map(copy["data"], owned(COPIED, copy["data"], labels), labels=labels)
    manifest = filled_in(current=current)
    assert manifest["data"]["ISSUER"] == "https://login.example.com/realms/from-template"
    assert not {"KEYCLOAK_REALM", "EXTRA"} & manifest["data"].keys()


@pytest.mark.parametrize("fields", [{}, {"f:metadata": {}}, {"f:data": {}}])
def test_managed_fields_of_other_shapes_are_read(fields: dict[str, Any]) -> None:
    current = config_map(FILLED_IN, {"manager": "x", "operation": "Update", "fieldsV1": fields})
    assert filled_in(current=current) is None
