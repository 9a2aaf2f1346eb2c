"""The permissions that a security team asks about, whatever the values are."""

import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import yaml

ALL = (
    "mlflow.enable=true",
    "otelBootstrap.enable=true",
    "openshiftConsole.link=true",
    "platform=openshift",
)
# Writing these anywhere, or under any name, is what the least permissions are about.
WRITES = {"create", "update", "patch", "delete", "deletecollection"}


type Rules = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def rules(helm: Callable[..., subprocess.CompletedProcess[str]]) -> Rules:
    """Every rule of every role with everything but AuthBridge enabled."""
    return collect_rules(helm, *ALL)


@pytest.fixture
def of_authbridge(helm: Callable[..., subprocess.CompletedProcess[str]]) -> Rules:
    """The rules with AuthBridge alone."""
    return collect_rules(helm, "authbridge.enable=true")


def collect_rules(helm: Callable[..., subprocess.CompletedProcess[str]], *values: str) -> Rules:
    """Every rule of every role, beside `ClusterRole` or `Role <namespace>`."""
    sets = [argument for value in values for argument in ("--set", value)]
    result = helm("template", *sets)
    assert result.returncode == 0, result.stderr
    found: list[tuple[str, dict[str, Any]]] = []
    for document in yaml.safe_load_all(result.stdout):
        if document["kind"] in ("ClusterRole", "Role"):
            where = " ".join(filter(None, (document["kind"], document["metadata"].get("namespace"))))
            found += [(where, rule) for rule in document["rules"]]
    return found


def about(rules: list[tuple[str, dict[str, Any]]], resource: str) -> list[tuple[str, dict[str, Any]]]:
    return [(where, rule) for where, rule in rules if resource in rule.get("resources", ())]


def test_no_wildcard(rules: list[tuple[str, dict[str, Any]]]) -> None:
    for where, rule in rules:
        assert "*" not in [*rule.get("apiGroups", ()), *rule.get("resources", ()), *rule["verbs"]], where


def test_no_secrets(rules: list[tuple[str, dict[str, Any]]]) -> None:
    assert about(rules, "secrets") == []


def test_configmaps_only_where_they_are_needed_and_written_only_by_name(
    rules: list[tuple[str, dict[str, Any]]],
) -> None:
    found = about(rules, "configmaps")
    assert {where for where, _ in found} == {
        "Role kagenti-system",
        "Role openshift-config",
        "Role openshift-config-managed",
    }
    for where, rule in found:
        if WRITES & set(rule["verbs"]):
            assert where == "Role kagenti-system"
            written = {"otel-collector-config", "otel-ingress-ca", "kagenti-ui-config"}
            assert set(rule["resourceNames"]) <= written


def test_binds_the_two_roles_of_mlflow_and_no_other(rules: list[tuple[str, dict[str, Any]]]) -> None:
    binding = [rule for _, rule in rules if "bind" in rule["verbs"]]
    assert [rule["resourceNames"] for rule in binding] == [
        ["mlflow-operator-mlflow-integration", "mlflow-operator-mlflow-edit"]
    ]
    assert not [rule for _, rule in rules if {"escalate", "impersonate"} & set(rule["verbs"])]


def test_makes_tokens_of_the_account_that_mlflow_is_asked_as_and_of_no_other(
    rules: list[tuple[str, dict[str, Any]]],
) -> None:
    ((where, rule),) = about(rules, "serviceaccounts/token")
    assert where == "Role kagenti-system"
    assert (rule["resourceNames"], rule["verbs"]) == (["kagenti-mlflow-client"], ["create"])
    assert about(rules, "serviceaccounts") == []


def test_cluster_roles_are_never_written(rules: list[tuple[str, dict[str, Any]]]) -> None:
    for resource in ("clusterroles", "clusterrolebindings"):
        for _, rule in about(rules, resource):
            assert not WRITES & set(rule["verbs"])


def test_authbridge_knows_one_secret_by_its_name_and_one_webhook_configuration(of_authbridge: Rules) -> None:
    ((where, rule),) = about(of_authbridge, "secrets")
    assert (where, rule["resourceNames"]) == (
        "Role kagenti-system",
        ["kagenti-operator-webhook-server-cert"],
    )
    ((_, rule),) = about(of_authbridge, "mutatingwebhookconfigurations")
    assert rule["resourceNames"] == ["kagenti-controller-manager-webhook"]
    # It keeps one that is there, and makes none that would stay.
    assert rule["verbs"] == ["list", "watch", "patch"]


def test_authbridge_knows_neither_where_somebody_else_makes_the_certificate(
    helm: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    rules = collect_rules(helm, "authbridge.enable=true", "authbridge.certificate=cert-manager")
    assert not about(rules, "secrets")
    assert not about(rules, "mutatingwebhookconfigurations")


def test_authbridge_makes_accounts_and_never_changes_one(of_authbridge: Rules) -> None:
    ((_, rule),) = about(of_authbridge, "serviceaccounts")
    assert WRITES & set(rule["verbs"]) == {"create"}
    assert not [rule for _, rule in of_authbridge if {"escalate", "impersonate"} & set(rule["verbs"])]
    for where, rule in of_authbridge:
        assert "*" not in [*rule.get("apiGroups", ()), *rule.get("resources", ()), *rule["verbs"]], where
