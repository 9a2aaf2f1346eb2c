"""Names follow the platform, and the release where it is beside the platform's own operator."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kagenti_operator.cli.main import build_parser
from kagenti_operator.cli.run import build_settings
from kagenti_operator.contract import PLATFORMS, Names
from tests.unit.chart.conftest import CHART

ASK_METRICS = ("PrometheusRule", "ConfigMap")

type Helm = Callable[..., subprocess.CompletedProcess[str]]
type Object = dict[str, Any]

BESIDE = CHART / "values-beside.yaml"
OTHERS = Path(__file__).parent / "platforms-own-operator.yaml"
EVERYTHING = (
    "--set=mlflow.enable=true,otelBootstrap.enable=true,prometheus.enable=true,networkPolicy.enable=true",
    "--set=grafanaDashboard.enable=true,openshiftConsole.link=true,openshiftConsole.dashboard=true",
    "--set=platform.kind=openshift,controllerManager.replicas=2",
    "--set=metrics.readers[0].name=prometheus,metrics.readers[0].namespace=monitoring",
)


def render(helm: Helm, *values: str | Path) -> list[Object]:
    rendered = helm("template", *EVERYTHING, *values)
    assert rendered.returncode == 0, rendered.stderr
    return [found for found in yaml.safe_load_all(rendered.stdout) if found]


def identities(objects: list[Object]) -> list[tuple[str, str, str]]:
    return [(o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]) for o in objects]


def arguments(objects: list[Object]) -> list[str]:
    (deployment,) = [o for o in objects if o["kind"] == "Deployment"]
    return deployment["spec"]["template"]["spec"]["containers"][0]["args"]


@pytest.mark.parametrize("names", PLATFORMS.values(), ids=lambda names: names.prefix)
def test_the_chart_and_the_operator_agree_on_names(
    helm: Helm, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POD_NAMESPACE", "kagenti-system")
    objects = render(helm, f"--set=platform.name={names.prefix}")
    found = set(identities(objects))
    assert ("Deployment", "kagenti-system", names.deployment) in found
    assert ("Lease", "kagenti-system", names.lease) in found
    assert ("ClusterRole", "", names.deployment) in found
    assert ("ClusterRole", "", names.console_link_role) in found
    assert ("ClusterRole", "", f"{names.prefix}-metrics-reader") in found
    rules = yaml.safe_dump([o["rules"] for o in objects if "Role" in o["kind"] and "rules" in o])
    assert ("ServiceAccount", "kagenti-system", names.mlflow_client) in found
    for name in (names.ui_config, names.console_link, names.lease, names.mlflow_client):
        assert f"- {name}\n" in rules
    settings = build_settings(build_parser().parse_args(arguments(objects)))
    assert settings.names == names
    assert settings.lease == names.lease
    assert settings.mlflow_experiment_name == names.default_experiment


def test_every_name_follows_the_one_that_is_given(helm: Helm) -> None:
    objects = render(helm, "--set=fullnameOverride=second")
    assert not [name for _, _, name in identities(objects) if not name.startswith("second")]
    settings = build_settings(build_parser().parse_args(arguments(objects)))
    assert (settings.names.deployment, settings.lease) == ("second", "second")
    assert settings.names.mlflow_client == "second-mlflow-client"
    assert "kagenti-controller-manager" not in yaml.safe_dump_all(objects)


def test_a_lease_and_an_account_of_a_name_of_their_own_are_those(helm: Helm) -> None:
    sets = "--set=fullnameOverride=second,leaderElection.id=third,controllerManager.serviceAccountName=fourth"
    found = set(identities(render(helm, sets)))
    assert ("Lease", "kagenti-system", "third") in found
    assert ("ServiceAccount", "kagenti-system", "fourth") in found


@pytest.mark.parametrize(
    ("value", "lease"),
    [
        ("platform.name=rossoctl", "b7c4ae34.rossoctl.dev"),
        ("fullnameOverride=second", "second"),
        ("leaderElection.id=third", "third"),
    ],
)
def test_alerts_and_dashboards_ask_for_the_lease_of_this_release(helm: Helm, value: str, lease: str) -> None:
    asked = "\n".join(json.dumps(o) for o in render(helm, f"--set={value}") if o["kind"] in ASK_METRICS)
    names = set(re.findall(r"leader_election_master_status\{name=\W*([\w.]+)", asked))
    assert names == {lease}


@pytest.mark.parametrize("namespace", ["kagenti-system", "traces"])
def test_both_operators_live_in_one_cluster(helm: Helm, namespace: str) -> None:
    others: list[Object] = list(yaml.safe_load_all(OTHERS.read_text()))
    beside = ("--values", BESIDE, "--namespace", namespace, "--set=platform.namespace=kagenti-system")
    ours = render(helm, *beside)
    assert set(identities(ours)).isdisjoint(identities(others))
    # Without those values they would not.
    assert not set(identities(render(helm))).isdisjoint(identities(others))


def test_what_is_the_platforms_is_granted_where_the_platform_is(helm: Helm) -> None:
    objects = render(helm, "--namespace=traces", "--set=platform.namespace=kagenti-system")
    roles = [
        o for o in objects if o["kind"] == "Role" and o["metadata"]["name"] == "kagenti-controller-manager"
    ]
    granted = {
        o["metadata"]["namespace"]: {resource for rule in o["rules"] for resource in rule["resources"]}
        for o in roles
    }
    assert granted["traces"] == {"leases", "serviceaccounts/token"}
    assert granted["kagenti-system"] == {"configmaps", "services", "deployments"}
    assert "--platform-namespace=kagenti-system" in arguments(objects)
